"""The connections of one store: lent out one call each, and taken back; none of them may keep a call for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from eventstore.errors import PoolExhausted
from eventstore_postgres.deadlines import Deadline

RECONNECT: Final = 1.0
"""Seconds after which a connection that could not be made is tried again, for as long as somebody asks for one.

Left to itself the pool doubles the time with every try: back after a minute, the server would wait another for its
clients.
"""


class Pool:
    """A pool of psycopg, its limits, and a count of who has and who waits."""

    def __init__(self, connections: AsyncConnectionPool, *, call_timeout: float) -> None:
        """Lend what `connections` has, which is not open yet; a call may take `call_timeout` seconds, 0 for ever."""
        self._connections = connections
        self._call_timeout = call_timeout
        self._lent = 0
        self._waiting = 0

    async def open(self) -> None:
        """Begin to connect."""
        await self._connections.open()

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._connections.close()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection for one call; forget the others, too, when it shows that they are of no use."""
        connection = await self.take()
        call = self.limit(connection)
        try:
            with call:
                yield connection
        except psycopg.errors.ReadOnlySqlTransaction:
            # What was the primary is none now; who connects again may find the new one.
            await self._connections.drain()
            raise
        finally:
            if call.has_passed:
                await self._connections.drain()
            await self.give_back(connection)

    async def take(self) -> AsyncConnection:
        """Lend a connection until it is given back. Raises `PoolExhausted` if all of them are lent for too long."""
        self._waiting += 1
        try:
            connection = await self._get()
        finally:
            self._waiting -= 1
        self._lent += 1
        return connection

    async def _get(self) -> AsyncConnection:
        clock = asyncio.get_running_loop().time
        timeout = self._connections.timeout
        ends = clock() + timeout
        while True:
            remaining = ends - clock()
            # Who waits on has the pool try no sooner to connect, who asks again has; but loses their place in the line.
            patience = remaining if self._is_exhausted else min(remaining, RECONNECT)
            try:
                return await self._connections.getconn(timeout=patience)
            except PoolTimeout as error:
                if clock() < ends:
                    continue
                if not self._is_exhausted:
                    raise PoolTimeout(f"none could be made within {timeout:g} seconds") from error
                size = self._connections.max_size
                raise PoolExhausted(size=size, in_use=self._lent, waiting=self._waiting - 1, timeout=timeout) from error

    @property
    def _is_exhausted(self) -> bool:
        return self._lent >= self._connections.max_size

    async def give_back(self, connection: AsyncConnection) -> None:
        """Take a connection back."""
        self._lent -= 1
        await self._connections.putconn(connection)

    def limit(self, connection: AsyncConnection) -> Deadline:
        """Return the limit of one call."""
        return Deadline(connection, self._call_timeout)

"""The connections of one store: lent out one call each, and taken back; none of them may keep a call for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from eventstore.errors import PoolExhausted
from eventstore_postgres.deadlines import Deadline


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
            connection = await self._connections.getconn()
        except PoolTimeout as error:
            if self._lent < self._connections.max_size:
                raise
            raise PoolExhausted(
                size=self._connections.max_size,
                in_use=self._lent,
                waiting=self._waiting - 1,
                timeout=self._connections.timeout,
            ) from error
        finally:
            self._waiting -= 1
        self._lent += 1
        return connection

    async def give_back(self, connection: AsyncConnection) -> None:
        """Take a connection back."""
        self._lent -= 1
        await self._connections.putconn(connection)

    def limit(self, connection: AsyncConnection) -> Deadline:
        """Return the limit of one call."""
        return Deadline(connection, self._call_timeout)

"""The connections of one store: lent out one call each, and taken back; none of them may keep a call for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from eventstore.cancellation import cancellations
from eventstore.errors import PoolExhausted
from eventstore_postgres.deadlines import Deadline
from eventstore_postgres.failures import translated

_GIVE_UP: Final = 1.0
"""Seconds after which the pool gives up to make a connection, and begins anew if somebody waits for one.

Left to itself it doubles the time with every try: back after a minute, the server would wait another for its clients.
"""

_A_MOMENT: Final = 0.01


class Pool:
    """A pool of psycopg, its limits, and a count of who has and who waits."""

    def __init__(
        self,
        conninfo: str,
        *,
        min_size: int,
        max_size: int,
        timeout: float,
        call_timeout: float,
        prepare_threshold: int | None,
        configure: Callable[[AsyncConnection], Awaitable[None]],
    ) -> None:
        """Let a call take `call_timeout` seconds, 0 for ever; the rest is as psycopg has it."""
        self._connections: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
            conninfo,
            open=False,
            min_size=min(min_size, max_size),
            max_size=max_size,
            timeout=timeout,
            reconnect_timeout=_GIVE_UP,
            reconnect_failed=self._begin_anew,
            kwargs={"autocommit": True, "prepare_threshold": prepare_threshold},
            configure=configure,
        )
        self._call_timeout = call_timeout
        self._lent = 0
        self._waiting = 0

    async def open(self) -> None:
        """Begin to connect."""
        await self._connections.open()

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._connections.close()

    def lend(self, *, writes: bool = False) -> Lent:
        """Lend a connection for one call, with its failures translated; `writes`: it may take effect unnoticed."""
        return Lent(self, writes=writes)

    async def forget(self) -> None:
        """Have the connections there are replaced, those that are lent when they come back."""
        await self._connections.drain()

    async def take(self) -> AsyncConnection:
        """Lend a connection until it is given back. Raises `PoolExhausted` if all of them are lent for too long."""
        self._waiting += 1
        try:
            connection = await self._connections.getconn()
        except PoolTimeout as error:
            size, timeout = self._connections.max_size, self._connections.timeout
            if self._lent < size:
                raise
            raise PoolExhausted(size=size, in_use=self._lent, waiting=self._waiting - 1, timeout=timeout) from error
        finally:
            self._waiting -= 1
        self._lent += 1
        return connection

    async def _begin_anew(self, connections: AsyncConnectionPool[AsyncConnection]) -> None:
        """Have the pool, which has given up, connect again: it does when asked, and whoever waits has asked already."""
        if self._waiting:
            with suppress(PoolTimeout, PoolClosed):
                await connections.putconn(await connections.getconn(timeout=_A_MOMENT))

    async def give_back(self, connection: AsyncConnection) -> None:
        """Take a connection back."""
        self._lent -= 1
        await self._connections.putconn(connection)

    def limit(self, connection: AsyncConnection) -> Deadline:
        """Return the limit of one call."""
        return Deadline(connection, self._call_timeout)


class Lent:
    """A connection of the pool for one call; what it shows of the others, that they are of no use, is acted upon.

    One class instead of five generators within each other: those took a tenth of an append.
    """

    __slots__ = ("_call", "_cancellations", "_connection", "_pool", "_writes")

    def __init__(self, pool: Pool, *, writes: bool) -> None:
        self._pool = pool
        self._writes = writes

    async def __aenter__(self) -> AsyncConnection:
        self._cancellations = cancellations()
        try:
            self._connection = await self._pool.take()
        except Exception as error:
            failure = translated(error)
            if failure is error:
                raise
            raise failure from error
        self._call = self._pool.limit(self._connection)
        self._call.__enter__()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._call.__exit__(kind, error, traceback)
        except psycopg.OperationalError as late:
            error = late
        try:
            # Of a server that was the primary and is none now, whoever connects again may find the new one.
            if self._call.has_passed or isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                await self._pool.forget()
        finally:
            # There it is rolled back or thrown away, if need be.
            await self._pool.give_back(self._connection)
        if isinstance(error, Exception):
            failure = translated(error, commits=self._writes)
            if failure is not error:
                raise failure from error
        if error is None and cancellations() > self._cancellations:
            raise asyncio.CancelledError

"""Running statements on a connection so that a cancellation never leaves one behind in its thread."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, TypeAlias, cast

import aiosqlite

from eventstore.cancellation import uninterrupted

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Mapping[str, object]


class Run(Protocol):
    """Something that runs one statement, whole or not at all, and returns its rows."""

    async def __call__(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement with named parameters; `:now` is there in all of them."""
        ...


class Statements(Protocol):
    """Where a session runs its statements: on a store, or inside a transaction."""

    async def read(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement that reads."""
        ...

    async def write(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement that writes; what it reads is what it writes upon."""
        ...

    def writing(self) -> AbstractAsyncContextManager[Run]:
        """Run several statements as one: all of them take effect or none."""
        ...


async def run(
    connection: aiosqlite.Connection, sql: str, parameters: Parameters | None = None, *, interrupt: bool = False
) -> list[Row]:
    """Run one statement to its end, in one trip to the connection's thread.

    A cancelled await does not stop the thread. So a cancelled call first waits until the statement has ended: what
    happened has then happened, and the connection is free for the next one. `interrupt` ends it early, for statements
    that only read: one that writes would take its transaction with it.
    """
    try:
        with _closed_connections():
            if connection.row_factory is None:
                return cast("list[Row]", await connection.execute_fetchall(sql, _with_time(parameters)))
            return await _run_with_plain_rows(connection, sql, parameters)
    except asyncio.CancelledError:
        await uninterrupted(_until_idle(connection, interrupt=interrupt))
        raise


async def roll_back(connection: aiosqlite.Connection) -> None:
    """Roll back whatever transaction is open once the statements sent so far have ended."""
    try:
        # Decides in the connection's thread, after what is under way there: a BEGIN whose await was cancelled, say.
        await connection.rollback()
    except (sqlite3.Error, ValueError):
        # Lost or closed: either has rolled back.
        return


async def _run_with_plain_rows(connection: aiosqlite.Connection, sql: str, parameters: Parameters | None) -> list[Row]:
    """Run a statement on a connection whose owner wants another kind of rows."""
    async with connection.cursor() as cursor:
        cursor.row_factory = None
        await cursor.execute(sql, _with_time(parameters))
        return cast("list[Row]", await cursor.fetchall())


async def _until_idle(connection: aiosqlite.Connection, *, interrupt: bool) -> None:
    """Wait for everything that was sent to the connection so far: its thread works in order."""
    try:
        if interrupt:
            await connection.interrupt()
        await connection.execute_fetchall("SELECT 1")
    except (sqlite3.Error, ValueError):
        return


def _with_time(parameters: Parameters | None) -> dict[str, object]:
    return {**(parameters or {}), "now": time.time_ns() // 1000}


@contextmanager
def _closed_connections() -> Iterator[None]:
    """Let aiosqlite say in sqlite3's way that a connection is closed; it raises a bare `ValueError`."""
    try:
        yield
    except ValueError as error:
        raise sqlite3.ProgrammingError(f"Cannot operate on a closed database: {error}") from error

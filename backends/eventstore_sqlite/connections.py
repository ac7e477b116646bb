"""The connections of a store to its file: one that writes, used by one task at a time, and a few that read."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import aiosqlite

from eventstore.cancellation import uninterrupted
from eventstore.errors import SchemaOutdated, StoreNotOpen
from eventstore_sqlite import schema
from eventstore_sqlite.errors import driver_errors, primary_code
from eventstore_sqlite.files import DatabaseFile, thread_of
from eventstore_sqlite.statements import Parameters, Row, Run, roll_back, run

_BUSY_PAUSE: Final = 0.002
"""Seconds between tries for a lock: not every call of SQLite waits by itself."""


class Connections:
    """Opens and closes them, and runs statements: `eventstore_sqlite.statements.Statements` on a store.

    Readers see what was committed when their statement began, and nothing of the transaction that is open on the
    writer: that is what write-ahead logging is for. Every write takes the lock of the file before it reads anything: a
    transaction that turned from reading to writing could fail at once, whatever the time-out.
    https://sqlite.org/isolation.html
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._open: list[aiosqlite.Connection] = []
        self._writer: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()
        self._idle_readers: list[aiosqlite.Connection] = []
        self._observer: aiosqlite.Connection | None = None
        self._reading = asyncio.Semaphore(file.settings.readers)
        self._is_closed = False

    # --- Opening and closing -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the connection that writes, and bring the schema up to date unless that is switched off."""
        migrates = self._file.settings.migrate and not self._file.settings.immutable
        self._is_closed = False
        with driver_errors(self._file):
            self._file.prepare()
            if not self._file.exists() and not migrates:
                raise SchemaOutdated(0, schema.LATEST)
            writer = await self._connect(create=migrates)
            if migrates:
                await self._migrate(writer)
            else:
                await schema.check(partial(self._patiently, writer))
            await self._check_not_closed(writer)
        self._writer = writer

    async def close(self) -> None:
        """Close all connections, after what is under way on them."""
        self._is_closed = True
        self._writer = self._observer = None
        connections, self._open = self._open, []
        self._idle_readers.clear()
        await uninterrupted(_close(connections))
        self._file.remove()

    async def migrate(self) -> None:
        """Bring the schema up to date, also before `open`."""
        with driver_errors(self._file):
            self._file.prepare()
            self._file.exists()
            async with self._temporary(create=True) as connection:
                await self._migrate(connection)

    async def schema_version(self) -> int:
        """Return the version of the schema, also before `open`."""
        with driver_errors(self._file):
            if not self._file.exists():
                return 0
            async with self._temporary() as connection:
                return await schema.version(partial(self._patiently, connection))

    async def _migrate(self, connection: aiosqlite.Connection) -> None:
        patiently = partial(self._patiently, connection)
        await schema.migrate(patiently, partial(self._immediate, connection))
        if await patiently("PRAGMA journal_mode") == [("wal",)]:
            return
        try:
            await patiently("PRAGMA journal_mode = wal")
        except sqlite3.OperationalError as error:
            # A read-only file is read as it is.
            if primary_code(error) != sqlite3.SQLITE_READONLY:
                raise

    async def _connect(self, *, create: bool = False, read_only: bool = False) -> aiosqlite.Connection:
        connection = self._file.connection(create=create)
        try:
            await uninterrupted(_await(connection))
            await self._patiently(connection, f"PRAGMA synchronous = {self._file.synchronous}")
            if read_only:
                await self._patiently(connection, "PRAGMA query_only = on")
        except BaseException:
            await uninterrupted(_close([connection]))
            raise
        self._open.append(connection)
        return connection

    async def _disconnect(self, connection: aiosqlite.Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
        await uninterrupted(_close([connection]))

    async def _check_not_closed(self, connection: aiosqlite.Connection) -> None:
        """Give back a connection whose opening `close` could not see."""
        if self._is_closed:
            await self._disconnect(connection)
            raise StoreNotOpen(f"the {self._file}", closed=True)

    @asynccontextmanager
    async def _temporary(self, *, create: bool = False) -> AsyncIterator[aiosqlite.Connection]:
        connection = await self._connect(create=create)
        try:
            yield connection
        finally:
            await self._disconnect(connection)

    # --- Running statements --------------------------------------------------------------------------------------

    async def read(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement that reads, on a connection of its own."""
        with driver_errors(self._file):
            async with self._reading:
                reader = await self._take_reader()
                try:
                    return await self._patiently(reader, sql, parameters, interrupt=True)
                finally:
                    if reader in self._open:
                        self._idle_readers.append(reader)

    async def _take_reader(self) -> aiosqlite.Connection:
        self._check_open()
        if self._idle_readers:
            return self._idle_readers.pop()
        reader = await self._connect(read_only=True)
        await self._check_not_closed(reader)
        return reader

    async def data_version(self) -> int:
        """Return a number that changes when anybody commits: https://sqlite.org/pragma.html#pragma_data_version.

        It says nothing between connections, so one is kept for it. For one task at a time.
        """
        with driver_errors(self._file):
            self._check_open()
            if self._observer is None:
                observer = await self._connect(read_only=True)
                await self._check_not_closed(observer)
                self._observer = observer
            ((version,),) = await self._patiently(self._observer, "PRAGMA data_version")
        return int(version)

    async def write(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement that writes; it is a transaction by itself, and durable when this returns."""
        with driver_errors(self._file):
            async with self._writing:
                return await self._patiently(self._check_open(), sql, parameters)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Run]:
        """Run several statements as one transaction."""
        async with self.transaction() as connection:
            with driver_errors(self._file):
                yield partial(run, connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Hold the connection that writes, in a transaction that commits on a clean exit; errors pass unchanged."""
        async with self._writing:
            connection = self._check_open()
            try:
                async with self._immediate(connection):
                    yield connection
            finally:
                # Whoever had it may have wished for other rows, or have closed the store.
                with suppress(ValueError):
                    connection.row_factory = None
                    connection.text_factory = str

    @asynccontextmanager
    async def _immediate(self, connection: aiosqlite.Connection) -> AsyncIterator[None]:
        try:
            with driver_errors(self._file):
                await self._patiently(connection, "BEGIN IMMEDIATE")
            yield
            with driver_errors(self._file):
                await run(connection, "COMMIT")
        except BaseException:
            await uninterrupted(roll_back(connection))
            raise

    async def _patiently(
        self,
        connection: aiosqlite.Connection,
        sql: str,
        parameters: Parameters | None = None,
        *,
        interrupt: bool = False,
    ) -> list[Row]:
        """Run a statement that begins a transaction or is one; wait while another process has the lock.

        Waiting here and not in SQLite lets a cancelled call go at once.
        """
        deadline = asyncio.get_running_loop().time() + self._file.settings.busy_timeout
        while True:
            try:
                return await run(connection, sql, parameters, interrupt=interrupt)
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(_BUSY_PAUSE)

    def _check_open(self) -> aiosqlite.Connection:
        if self._writer is None:
            raise StoreNotOpen(f"the {self._file}", closed=self._is_closed)
        return self._writer


async def _await(connection: aiosqlite.Connection) -> None:
    await connection


async def _close(connections: list[aiosqlite.Connection]) -> None:
    for connection in connections:
        try:
            await connection.close()
        except (sqlite3.Error, ValueError):
            continue
        finally:
            # It ends at once now. Left alone, it may find the event loop closed when it comes to say so.
            if thread_of(connection).is_alive():
                thread_of(connection).join()

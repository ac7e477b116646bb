"""Transactions: of the store, on its own connection that writes, and of the caller, on theirs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiosqlite

from eventstore.cancellation import uninterrupted
from eventstore.errors import InvalidArgument, StoreNotOpen, TransactionError
from eventstore_sqlite import queries
from eventstore_sqlite.connections import Connections
from eventstore_sqlite.errors import driver_errors
from eventstore_sqlite.files import DatabaseFile
from eventstore_sqlite.session import SqliteSession
from eventstore_sqlite.statements import Parameters, Row, Run, run


class SqliteTransaction(SqliteSession):
    """A session whose effects commit with a transaction."""

    def __init__(self, statements: StatementsInTransaction) -> None:
        super().__init__(statements)
        self._connection = statements.connection

    @property
    def connection(self) -> aiosqlite.Connection:
        """The connection that runs the transaction."""
        return self._connection


class StatementsInTransaction:
    """`eventstore_sqlite.statements.Statements` inside a transaction that is open on a connection."""

    def __init__(self, connection: aiosqlite.Connection, file: DatabaseFile) -> None:
        self.connection = connection
        self._file = file
        self._writing = asyncio.Lock()
        self._is_over = False

    def end(self) -> None:
        """Refuse what comes late: from then on the connection serves others."""
        self._is_over = True

    async def read(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement that reads, and sees what the transaction wrote."""
        return await self._run(sql, parameters)

    async def write(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement that writes."""
        async with self._writing:
            return await self._run(sql, parameters)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Run]:
        """Run several statements as one, while no other writes of the transaction mix with them."""
        async with self._writing:
            try:
                await self._run("SAVEPOINT eventstore_call", None)
                yield self._run
                await self._run("RELEASE eventstore_call", None)
            except BaseException:
                await uninterrupted(_undo(self.connection, "eventstore_call"))
                raise

    async def _run(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        await self._check()
        with driver_errors(self._file):
            return await run(self.connection, sql, parameters)

    async def _check(self) -> None:
        if self._is_over:
            raise TransactionError("the transaction has ended: begin another with store.transaction()")
        if _in_transaction(self.connection) is False:
            raise TransactionError(
                "the transaction was ended on its connection, by a COMMIT or ROLLBACK or by SQLite after an error: "
                "leave that to store.transaction(), and begin another one"
            )


class StatementsOfCaller(StatementsInTransaction):
    """The same in a transaction that the caller runs on a connection of their own."""

    def __init__(self, connection: aiosqlite.Connection, file: DatabaseFile) -> None:
        super().__init__(connection, file)
        self._is_checked = False

    async def _check(self) -> None:
        if not self._is_checked:
            await self._check_file()
            self._is_checked = True
        if not _in_transaction(self.connection):
            raise TransactionError(
                'no transaction is running on the connection: begin with `await connection.execute("BEGIN IMMEDIATE")`'
            )

    async def _check_file(self) -> None:
        with driver_errors(self._file):
            databases = await run(self.connection, "PRAGMA database_list")
        main = next(path for _, name, path in databases if name == "main")
        ours = self._file.path
        if ours is None or not main or not _same_file(Path(main), ours):
            raise InvalidArgument(
                "connection", self.connection, f"it is open on another database than the {self._file}"
            )


@asynccontextmanager
async def transaction(connections: Connections, file: DatabaseFile) -> AsyncIterator[SqliteTransaction]:
    """Run a transaction on the connection of the store that writes; the caller's own exceptions pass unchanged."""
    async with connections.transaction() as connection:
        statements = StatementsInTransaction(connection, file)
        try:
            # It tells at the end whether the transaction is still the same, and keeps the write lock when rolled back.
            await statements.write("SAVEPOINT eventstore_transaction")
            yield SqliteTransaction(statements)
            statements.end()
            await _release(connection, file)
        except BaseException:
            statements.end()
            await uninterrupted(_roll_back_keeping_positions(connection))
            raise


async def _release(connection: aiosqlite.Connection, file: DatabaseFile) -> None:
    try:
        await run(connection, "RELEASE eventstore_transaction")
    except sqlite3.Error as error:
        if _in_transaction(connection) is None:
            raise StoreNotOpen(f"the {file}", closed=True) from error
        raise TransactionError(
            "the transaction was ended on its connection, by a COMMIT or ROLLBACK or by SQLite after an error, so what "
            "the block did may be committed in part: leave the end to store.transaction()"
        ) from error


async def _roll_back_keeping_positions(connection: aiosqlite.Connection) -> None:
    """Undo the transaction but for the positions that it drew, which are never used again."""
    # Where the savepoint is gone, whoever called rolls back what is left.
    with suppress(sqlite3.Error):
        ((head,),) = await run(connection, queries.HEAD)
        await run(connection, "ROLLBACK TO eventstore_transaction")
        ((before,),) = await run(connection, queries.HEAD)
        if head > before:
            await run(connection, queries.SKIP_POSITIONS, {"head": head})
            await run(connection, "COMMIT")


async def _undo(connection: aiosqlite.Connection, savepoint: str) -> None:
    # The savepoint is gone where SQLite has rolled back the whole transaction, on a full disk say.
    with suppress(sqlite3.Error):
        await run(connection, f"ROLLBACK TO {savepoint}")
        await run(connection, f"RELEASE {savepoint}")


def _in_transaction(connection: aiosqlite.Connection) -> bool | None:
    """Tell whether a transaction is open on the connection, None if that is closed."""
    try:
        return connection.in_transaction
    except (sqlite3.Error, ValueError):
        return None


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)

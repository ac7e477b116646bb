"""Mutants in SQLite whose transactions and the caller's SQL do not belong together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiosqlite

from eventstore_sqlite import SqliteBackend
from eventstore_sqlite.transactions import SqliteTransaction
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.worlds import InAFile


class _ConnectionOfItsOwn(SqliteBackend):
    """Hands out another connection than the one that runs the transaction."""

    place = "{path}.other"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        place = self.place.format(path=self._file.path)
        async with aiosqlite.connect(place, isolation_level=None) as other, super().transaction() as session:
            session._connection = other
            yield session


@caught_by("SQL-02")
class RunsSqlOnAnotherConnection(InAFile):
    """Runs the caller's SQL on a connection that commits by itself: it stays when the events are rolled back."""

    class kind(_ConnectionOfItsOwn):  # noqa: N801 - the attribute of a world
        """The backend."""


@caught_by("SQL-01")
class ForgetsTheCallersSql(InAFile):
    """Never commits what the caller ran beside the events."""

    class kind(_ConnectionOfItsOwn):  # noqa: N801 - the attribute of a world
        """The backend."""

        place = ":memory:"


class _BindsAnything(SqliteBackend):
    def bind(self, connection: Any) -> SqliteTransaction:
        if isinstance(connection, aiosqlite.Connection):
            return SqliteBackend.bind(self, connection)
        session: Any = object()
        return cast(SqliteTransaction, session)


@caught_by("SQL-04")
class BindsAnything(InAFile):
    """Takes whatever it is given for a connection, and fails in the middle of its work."""

    kind = _BindsAnything


class _BindsToItself(SqliteBackend):
    def bind(self, connection: Any) -> Any:
        super().bind(connection)
        return _Other(self)


class _Other:
    """Calls that go to a store beside the bound transaction, whose lock they get around."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._done: list[Any] = []
        self._backend = backend

    async def append(self, transactions: Any) -> Any:
        from eventstore_memory.state import State, utc_now

        return [State(utc_now).append(transaction) for transaction in transactions]

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        return expected


@caught_by("SQL-03")
class BindsToAnotherTransaction(InAFile):
    """Writes what is bound in a transaction of its own, which nobody commits."""

    kind = _BindsToItself


class _WithoutConnection(SqliteBackend):
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        async with super().transaction() as session:
            nothing: Any = None
            session._connection = nothing
            yield session


@caught_by("SQL-05")
class HandsOutNoConnection(InAFile):
    """Claims that the caller's SQL joins in, and has no connection to run it on."""

    kind = _WithoutConnection

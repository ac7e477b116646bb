"""What surrounds a store, and makes those of a test: servers that die, lines that are cut, files, a real Postgres."""

from __future__ import annotations

import atexit
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from eventstore import EventStore, Filter, StoreUnavailable
from eventstore.backend import Conflict, Direction, LogPage, Outcome, RestoredEvent, Transaction
from eventstore.operations import Limits
from eventstore_conformance.hooks import Line, Server
from eventstore_memory.backend import MemoryTransaction
from eventstore_memory.state import State
from eventstore_postgres import PostgresBackend, settings_of
from eventstore_sqlite import SqliteBackend
from eventstore_sqlite.files import DatabaseFile, Settings
from tests.conformance.mutants.sound import Database, SharedMemory
from tests.postgres_server import open_test_server

P = ParamSpec("P")
T = TypeVar("T")

HOOKS: Final = ("cut_connection", "kill_server", "process_url", "reopen")
"""The hooks of the suite that a world may have."""


class World:
    """Makes stores of a kind over backends of a kind."""

    store: type[EventStore] = EventStore

    def backend(self) -> Any:
        """Return a backend of the test's database."""
        raise NotImplementedError

    def __call__(self, **options: Any) -> EventStore:
        """Return a store."""
        retry_timeout = options.pop("retry_timeout", 0)
        return self.store(self.backend(), limits=Limits(**options), retry_timeout=retry_timeout)


# --- A server at the end of a line -----------------------------------------------------------------------------------


class Remote(World):
    """A server in memory, sound and durable, at the end of a line that can be cut."""

    says_unknown = True

    def __init__(self) -> None:
        self.database = Database()
        self.cut: str | None = None

    def backend(self) -> Any:
        return RemoteBackend(self)

    @property
    def cut_connection(self) -> Line:
        def lose(what: str) -> None:
            self.cut = what

        return Line(self, partial(lose, "request"), partial(lose, "reply"))

    @property
    def kill_server(self) -> Server:
        async def kill_and_start() -> None:
            self.die()

        return Server(self, kill_and_start)

    def die(self) -> None:
        """Die, with everything on the disk."""

    async def call(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Send a request and wait for the reply."""
        cut, self.cut = self.cut, None
        if cut == "request":
            raise StoreUnavailable("the line was cut")
        answer = await work(*args, **kwargs)
        if cut == "reply":
            raise StoreUnavailable("the line was cut", outcome_unknown=self.says_unknown)
        return answer


class RemoteBackend(SharedMemory):
    """The client of such a server."""

    def __init__(self, world: Remote) -> None:
        super().__init__(world.database)
        self.world = world

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        return await self.world.call(super().append, transactions)

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        return await self.world.call(super().restore, events)

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        return await self.world.call(super().read_all, start, limit, direction, filter)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction() as session:
            yield RemoteTransaction(session._state, self.world)


class RemoteTransaction(MemoryTransaction):
    """A transaction at the other end."""

    def __init__(self, state: State, world: Remote) -> None:
        super().__init__(state)
        self.world = world

    async def append(self, transactions: Any) -> Any:
        return await self.world.call(super().append, transactions)


# --- Files -----------------------------------------------------------------------------------------------------------


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Return a directory that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="mutants-")


_numbers: Final = count(1)


class InAFile(World):
    """A SQLite file of the test's own."""

    kind: type[SqliteBackend] = SqliteBackend
    busy_timeout = 5.0

    def __init__(self) -> None:
        self.path = Path(folder().name, f"{next(_numbers)}.db")

    def backend(self) -> Any:
        return self.kind(DatabaseFile(self.path, Settings(synchronous="off", busy_timeout=self.busy_timeout)))

    @property
    def process_url(self) -> str:
        """The URL by which another process opens it."""
        return f"sqlite:///{self.path}"


class InAProcessOfItsOwn(InAFile):
    """A file, where another process keeps what it writes in a memory of its own."""

    @property
    def process_url(self) -> str:
        """A memory of the process's own."""
        return "memory://"


class BehindALock(InAFile):
    """A file on which a dead process has left a lock."""

    busy_timeout = 0.1

    def reopen(self, **options: Any) -> EventStore:
        self.lock = sqlite3.connect(self.path, isolation_level=None)
        self.lock.execute("BEGIN IMMEDIATE")
        return self(**options)


# --- A real Postgres -------------------------------------------------------------------------------------------------


@cache
def postgres() -> str:
    """Return the URL of a server that ends with the process."""
    until_the_end = ExitStack()
    atexit.register(until_the_end.close)
    return until_the_end.enter_context(open_test_server())


class InPostgres(World):
    """A schema of the test's own on a real Postgres."""

    kind: type[PostgresBackend] = PostgresBackend

    def __init__(self) -> None:
        self.url = f"{postgres()}?schema=mutants_{os.getpid()}_{next(_numbers)}"

    def backend(self) -> Any:
        conninfo, options = settings_of(self.url)
        return self.kind(conninfo, **options, settle_timeout=0.05)

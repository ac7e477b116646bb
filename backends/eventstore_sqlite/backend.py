"""`SqliteBackend`: the contract of `eventstore.backend` over the connections to one file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiosqlite

from eventstore.backend import (
    Capability,
    Checkpoint,
    Conflict,
    Direction,
    EncodedSnapshot,
    LogPage,
    Outcome,
    Place,
    RestoredEvent,
    StreamState,
    Transaction,
)
from eventstore.errors import InvalidArgument
from eventstore.filters import Filter
from eventstore.watching import Look, Watch
from eventstore_sqlite import queries, records, restoring
from eventstore_sqlite.connections import Connections
from eventstore_sqlite.files import DatabaseFile
from eventstore_sqlite.session import SqliteSession
from eventstore_sqlite.transactions import SqliteTransaction, StatementsOfCaller, transaction

POLL: Final = 0.025
"""Seconds between looks at a file for what other processes have committed, while somebody waits."""


class SqliteBackend(SqliteSession):
    """A store in one SQLite file, or a private one that is gone when it is closed."""

    name = "SQLite"

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._connections = Connections(file)
        super().__init__(self._connections)
        self._watch = Watch(self._look)
        self._seen = Look(0)
        self._seen_version = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Transactions with the caller's own SQL; in a file, what survives the process and is shared with others."""
        # There is one writer.
        alone = frozenset(Capability) - {Capability.CONCURRENT_CALLS}
        in_a_file = frozenset({Capability.DURABLE, Capability.SHARED})
        return alone - in_a_file if self._file.is_private else alone

    async def open(self) -> None:
        """Open the file, and create or upgrade the schema unless switched off."""
        try:
            await self._connections.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections; a private store is gone then."""
        try:
            await self._watch.close()
        finally:
            await self._connections.close()

    async def migrate(self) -> None:
        """Create or upgrade the schema, under the write lock."""
        await self._connections.migrate()

    async def schema_version(self) -> int:
        """Return the schema's version, 0 where there is none."""
        return await self._connections.schema_version()

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return a page of the log; one writer commits in the order of positions, so all of it is settled."""
        rows = await self._connections.read(*queries.log_page(start, limit, direction, filter))
        ((*_, head),), events = records.split_facts(rows)
        if len(events) == limit:
            return LogPage(events, events[-1].global_position, at_end=False)
        return LogPage(events, max(start or 0, head) if direction is Direction.FORWARD else 0, at_end=True)

    async def head(self) -> int:
        """Return the last position ever given out, which the erasing of its event does not take back."""
        ((head,),) = await self._connections.read(queries.HEAD)
        return int(head)

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        """Store each transaction, or say why not, and wake those who wait."""
        outcomes = await super().append(transactions)
        self._watch.nudge()
        return outcomes

    async def wait(self, after: int, timeout: float) -> None:
        """Return when there is something after a position: at once, or when the file is next looked at."""
        await self._watch.wait(after, timeout)

    async def _look(self) -> Look:
        version = await self._connections.data_version()
        if version != self._seen_version:
            # A later commit changes the version again.
            self._seen = Look(await self.head(), None if self._file.is_private else POLL)
            self._seen_version = version
        return self._seen

    async def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        """Return where events stand, by stream and version."""
        after_id, after_version = after or ("", 0)
        parameters = {"after": after_id, "after_version": after_version, "limit": limit}
        rows = await self._connections.read(queries.LIST_PLACES, parameters)
        return [
            Place(stream_id, version, position, records.time_of(created_at))
            for stream_id, version, position, created_at in rows
        ]

    async def list_snapshots(self, after: str | None, limit: int) -> list[EncodedSnapshot]:
        """Return a page of snapshots by stream id."""
        rows = await self._connections.read(queries.LIST_SNAPSHOTS, {"after": after or "", "limit": limit})
        return [EncodedSnapshot(stream_id, version, data.encode()) for stream_id, version, data in rows]

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        """Return a page of checkpoints by name."""
        rows = await self._connections.read(queries.LIST_CHECKPOINTS, {"after": after or "", "limit": limit})
        return [Checkpoint(*row) for row in rows]

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events as another store recorded them, or say why not, and wake those who wait."""
        outcome = await restoring.restore_events(events, self._connections.write, self._connections.read)
        self._watch.nudge()
        return outcome

    async def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        """Let a stream without events be at a version, or return its state."""
        async with self._connections.writing() as run:
            return await restoring.restore_stream(stream_id, version, run)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        """Run a transaction that holds the write lock from its beginning; others go on reading."""
        async with transaction(self._connections, self._file) as session:
            yield session
        self._watch.nudge()

    def bind(self, connection: Any) -> SqliteTransaction:
        """Join the transaction that the caller runs on an aiosqlite connection of their own to the same file."""
        if not isinstance(connection, aiosqlite.Connection):
            raise InvalidArgument("connection", connection, "give an aiosqlite.Connection")
        return SqliteTransaction(StatementsOfCaller(connection, self._file))

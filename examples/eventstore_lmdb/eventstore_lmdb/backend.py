"""The backend: one store in one folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from eventstore.backend import (
    Capability,
    Checkpoint,
    Conflict,
    Direction,
    EncodedSnapshot,
    LogPage,
    Place,
    RestoredEvent,
    SessionInTransaction,
    StreamState,
)
from eventstore.cancellation import uninterrupted
from eventstore.errors import CapabilityNotSupported, StoreReadOnly
from eventstore.filters import Filter
from eventstore.watching import Look, Watch
from eventstore_lmdb import reading, writing
from eventstore_lmdb.environments import SharedEnvironment, acquire, release
from eventstore_lmdb.failures import failures_of
from eventstore_lmdb.options import Options
from eventstore_lmdb.session import LmdbSession, LmdbTransaction, Step
from eventstore_lmdb.writer import transaction, write

P = ParamSpec("P")
T = TypeVar("T")

_POLL: Final = 0.025
"""Seconds between looks at the folder for what other stores have committed, while somebody waits."""

_CAPABILITIES: Final = frozenset(
    {Capability.DURABLE, Capability.SHARED, Capability.TRANSACTIONS, Capability.CONSUMERS, Capability.RESTORE}
)


class LmdbBackend(LmdbSession):
    """Made by `eventstore_lmdb.open_backend`."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._options = options
        self._shared: SharedEnvironment | None = None
        self._closing = asyncio.Lock()
        self._watch = Watch(self._look)

    @property
    def name(self) -> str:
        """The engine's name."""
        return "LMDB"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """A folder is durable, several stores and processes may use it, and LMDB has transactions."""
        return _CAPABILITIES

    # --- Opening and closing -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the folder, or join the other stores of this process that have it open."""
        self._shared = await acquire(self._folder, self._options)
        with failures_of(self._shared):
            await self._shared.writer.run(self._shared.open)

    async def close(self) -> None:
        """Give the folder back."""
        await uninterrupted(self._close())

    async def _close(self) -> None:
        async with self._closing:
            await self._watch.close()
            shared, self._shared = self._shared, None
            if shared is not None:
                await release(shared)

    async def migrate(self) -> None:
        """Create the folder and its tables, where they are missing."""
        if self._options.read_only:
            raise StoreReadOnly("the store is opened with read_only=true: migrate it without")
        async with self._borrowed() as shared:
            await shared.writer.run(shared.migrate)

    async def schema_version(self) -> int:
        """Return the schema's version, 0 where there is none."""
        async with self._borrowed() as shared:
            return await shared.writer.run(shared.schema_version)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[SharedEnvironment]:
        shared = await acquire(self._folder, self._options)
        try:
            with failures_of(shared):
                yield shared
        finally:
            await uninterrupted(release(shared))

    # --- The log -------------------------------------------------------------------------------------------------

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return a page of the log."""
        return await self._read(reading.read_all, start, limit, direction, filter)

    async def head(self) -> int:
        """Return the last position."""
        return await self._read(reading.head)

    async def wait(self, after: int, timeout: float) -> None:
        """Return when there is something after a position: at once, or when the folder is next looked at."""
        await self._watch.wait(after, timeout)

    async def _look(self) -> Look:
        return Look(await self.head(), _POLL)

    # --- What is kept, as `verify` looks at it -------------------------------------------------------------------

    async def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        """Return where events stand, by stream and version."""
        return await self._read(reading.list_places, after, limit)

    async def list_snapshots(self, after: str | None, limit: int) -> list[EncodedSnapshot]:
        """Return up to `limit` snapshots by stream id."""
        return await self._read(reading.list_snapshots, after, limit)

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        """Return up to `limit` checkpoints."""
        return await self._read(reading.list_checkpoints, after, limit)

    # --- What comes from another store ---------------------------------------------------------------------------

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events with their versions and times, or say why not."""
        return await self._write(writing.restore, events)

    async def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        """Let a stream without events be at a version, or return its state."""
        return await self._write(writing.restore_stream, stream_id, version)

    # --- Transactions --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SessionInTransaction]:
        """Run a transaction; it keeps all other writers waiting until it ends."""
        async with transaction(self._open) as conversation:
            yield LmdbTransaction(conversation)
        self._watch.nudge()

    def bind(self, connection: Any) -> SessionInTransaction:
        """Refuse: LMDB has no SQL."""
        raise CapabilityNotSupported(self.name, "bind() (capability SQL_TRANSACTIONS)")

    # --- Inside --------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> SharedEnvironment:
        assert self._shared is not None, "the store opens its backend before it calls it"
        return self._shared

    async def _read(self, step: Step[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        shared = self._open

        def call() -> T:
            with shared.opened.begin() as txn:
                return step(txn, shared.tables, *args, **kwargs)

        with failures_of(shared):
            return await shared.readers.run(call)

    async def _write(self, step: Step[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        shared = self._open
        done = await write(shared, lambda txn: step(txn, shared.tables, *args, **kwargs))
        self._watch.nudge()
        return done

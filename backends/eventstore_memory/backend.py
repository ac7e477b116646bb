"""`MemoryBackend`: the contract of `eventstore.backend` over a `State`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Never

from eventstore.backend import (
    Capability,
    Checkpoint,
    Conflict,
    Direction,
    EncodedSnapshot,
    Entry,
    LogPage,
    Outcome,
    Place,
    RestoredEvent,
    Snapshot,
    StreamInfo,
    StreamState,
    Transaction,
)
from eventstore.errors import CapabilityNotSupported
from eventstore.events import RecordedEvent
from eventstore.filters import Filter
from eventstore.versions import ExpectedVersion
from eventstore.watching import Look, Watch
from eventstore_memory.state import Clock, State, utc_now


class MemorySession:
    """The primitives over a state. Those that write wait while a transaction is in progress."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._writing = asyncio.Lock()

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        """Store each transaction, or say why not."""
        async with self._writing:
            return [self._state.append(transaction) for transaction in transactions]

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        """Return a page of a stream, None if it is deleted."""
        return self._state.read_stream(stream_id, start, limit, direction)

    async def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream."""
        return self._state.stream_info(stream_id)

    async def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        """Return a page of streams by id."""
        return self._state.list_streams(stream_type, prefix, after, limit, include_deleted=include_deleted)

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        """Remove events below a version."""
        async with self._writing:
            return self._state.truncate_stream(stream_id, before_version)

    async def delete_stream(
        self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        """Put a tombstone on a stream."""
        async with self._writing:
            return self._state.delete_stream(stream_id, expected_version, erase=erase)

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the latest snapshot."""
        return self._state.load_snapshot(stream_id)

    async def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        """Keep a snapshot unless a later one is there."""
        async with self._writing:
            return self._state.save_snapshot(snapshot)

    async def delete_snapshots(self, stream_id: str) -> None:
        """Forget the snapshots of a stream."""
        async with self._writing:
            self._state.snapshots.pop(stream_id, None)

    async def load_checkpoint(self, name: str) -> int:
        """Return a checkpoint's position."""
        return self._state.checkpoints.get(name, 0)

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        """Move a checkpoint if it is where it is expected."""
        async with self._writing:
            found = self._state.checkpoints.get(name, 0)
            if found == expected:
                self._state.checkpoints[name] = position
            return found

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Return a page of what consumers keep."""
        keys = sorted(
            key
            for key in self._state.entries
            if (name is None or key[0] == name) and key[1].startswith(prefix) and (after is None or key > after)
        )
        return [self._state.entries[key] for key in keys[:limit]]

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Keep an entry, or remove it, if its version is the one expected."""
        async with self._writing:
            entry = self._state.entries.get((name, key))
            found = 0 if entry is None else entry.version
            if found == expected and data is None:
                self._state.entries.pop((name, key), None)
            elif found == expected and data is not None:
                self._state.entries[name, key] = Entry(name, key, found + 1, data)
            return found


class MemoryTransaction(MemorySession):
    """A transaction: a session over a copy of the state."""

    @property
    def connection(self) -> Never:
        """There is none."""
        raise CapabilityNotSupported("memory", "tx.connection (capability SQL_TRANSACTIONS)")


class MemoryBackend(MemorySession):
    """A store in the memory of one event loop; its events are gone when it is closed."""

    name = "memory"
    capabilities = frozenset({Capability.TRANSACTIONS, Capability.CONSUMERS, Capability.RESTORE})

    def __init__(self, clock: Clock = utc_now) -> None:
        """`clock` returns the time in UTC that events and snapshots get; pass one of your own for tests that repeat."""
        super().__init__(State(clock))
        self._watch = Watch(self._look)

    async def open(self) -> None:
        """Do nothing: there is nothing to acquire."""

    async def close(self) -> None:
        """Wake those who wait; the memory goes with the store."""
        await self._watch.close()

    async def migrate(self) -> None:
        """Do nothing: there is no schema on a disk."""

    async def schema_version(self) -> int:
        """Return 1, the only version."""
        return 1

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return a page of the log; one thread commits in the order of positions, so all of it is settled."""
        return self._state.read_all(start, limit, direction, filter)

    async def head(self) -> int:
        """Return the last position given out in a committed append."""
        return self._state.head

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        """Store each transaction, or say why not, and wake those who wait."""
        outcomes = await super().append(transactions)
        self._watch.nudge()
        return outcomes

    async def wait(self, after: int, timeout: float) -> None:
        """Return when there is something after a position: at once when it is appended."""
        await self._watch.wait(after, timeout)

    async def _look(self) -> Look:
        return Look(self._state.head)

    async def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        """Return where events stand, by stream and version."""
        return self._state.list_places(after, limit)

    async def list_snapshots(self, after: str | None, limit: int) -> list[EncodedSnapshot]:
        """Return a page of snapshots by stream id."""
        snapshots = self._state.snapshots
        ids = sorted(stream_id for stream_id in snapshots if after is None or stream_id > after)
        return [snapshots[stream_id][0] for stream_id in ids[:limit]]

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        """Return a page of checkpoints by name."""
        checkpoints = self._state.checkpoints
        names = sorted(name for name in checkpoints if after is None or name > after)
        return [Checkpoint(name, checkpoints[name]) for name in names[:limit]]

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events as another store recorded them, or say why not, and wake those who wait."""
        async with self._writing:
            outcome = self._state.restore(events)
        self._watch.nudge()
        return outcome

    async def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        """Let a stream without events be at a version, or return its state."""
        async with self._writing:
            return self._state.restore_stream(stream_id, version)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """Run a transaction on a copy of the state, which takes the state's place on commit."""
        async with self._writing:
            copy = self._state.copy()
            yield MemoryTransaction(copy)
            self._state = copy
            self._watch.nudge()

    def bind(self, connection: Any) -> Never:
        """There are no connections to join."""
        raise CapabilityNotSupported("memory", "bind() (capability SQL_TRANSACTIONS)")

"""The primitives of `eventstore.backend.Session`, alike on a store and inside a transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import lmdb

from eventstore.backend import (
    Direction,
    EncodedSnapshot,
    Entry,
    Outcome,
    Snapshot,
    StreamInfo,
    StreamState,
    Transaction,
)
from eventstore.errors import CapabilityNotSupported
from eventstore.events import RecordedEvent
from eventstore.versions import ExpectedVersion
from eventstore_lmdb import reading, writing
from eventstore_lmdb.tables import Tables
from eventstore_lmdb.writer import Conversation

P = ParamSpec("P")
T = TypeVar("T")

Step = Callable[Concatenate["lmdb.Transaction[bytes]", Tables, P], T]


class LmdbSession(ABC):
    """What is common: which step of `reading` or `writing` a call is."""

    @abstractmethod
    async def _read(self, step: Step[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a step that writes nothing."""

    @abstractmethod
    async def _write(self, step: Step[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a step wholly or not at all."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        """Store each transaction, or say why not."""
        return await self._write(writing.append, transactions)

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        """Return up to `limit` events of a stream, or None if it is deleted."""
        return await self._read(reading.read_stream, stream_id, start, limit, direction)

    async def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream."""
        return await self._read(reading.stream_info, stream_id)

    async def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        """Return up to `limit` streams by id."""
        return await self._read(
            reading.list_streams, stream_type, prefix, after, limit, include_deleted=include_deleted
        )

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        """Remove the events below a version; return how many, or None if the stream is deleted."""
        return await self._write(writing.truncate_stream, stream_id, before_version)

    async def delete_stream(
        self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        """Put a tombstone on a stream."""
        return await self._write(writing.delete_stream, stream_id, expected_version, erase=erase)

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the stream's snapshot."""
        return await self._read(reading.load_snapshot, stream_id)

    async def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        """Keep a snapshot unless a later one is there."""
        return await self._write(writing.save_snapshot, snapshot)

    async def delete_snapshots(self, stream_id: str) -> None:
        """Forget the stream's snapshot."""
        await self._write(writing.delete_snapshots, stream_id)

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Return up to `limit` entries of consumers."""
        return await self._read(reading.list_entries, name, prefix, after, limit)

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Keep an entry, or remove it, if its version is the one expected."""
        return await self._write(writing.save_entry, name, key, data, expected)

    async def load_checkpoint(self, name: str) -> int:
        """Return the position of a checkpoint."""
        return await self._read(reading.load_checkpoint, name)

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        """Move a checkpoint if it is where it was expected."""
        return await self._write(writing.save_checkpoint, name, position, expected)


class LmdbTransaction(LmdbSession):
    """A session inside `store.transaction()`."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    @property
    def connection(self) -> Any:
        """LMDB has nothing to run SQL on."""
        raise CapabilityNotSupported("LMDB", "a connection inside a transaction (capability SQL_TRANSACTIONS)")

    async def _read(self, step: Step[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        tables = self._conversation.tables
        return await self._conversation.read(lambda txn: step(txn, tables, *args, **kwargs))

    async def _write(self, step: Step[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        tables = self._conversation.tables
        return await self._conversation.write(lambda txn: step(txn, tables, *args, **kwargs))

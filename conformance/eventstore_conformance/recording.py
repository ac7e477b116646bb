"""Recording a history: a store that writes down what is done with it, and the journal that it writes to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID, uuid4

import msgspec

from eventstore import (
    CapabilityNotSupported,
    CheckpointConflict,
    DuplicateEventId,
    EventStore,
    ExpectedVersion,
    Filter,
    InvalidArgument,
    InvalidEvent,
    NewEvent,
    RecordedEvent,
    StoreNotOpen,
    StoreReadOnly,
    StoreUnavailable,
    StreamDeleted,
    StreamWrite,
    TransactionConflict,
    TransactionError,
    WrongExpectedVersion,
)
from eventstore_conformance.history import (
    Acknowledged,
    Append,
    CheckpointLoad,
    CheckpointSave,
    LogRead,
    Mismatch,
    Moved,
    NotMoved,
    Record,
    Refused,
    StoredEvent,
    Unknown,
    as_sent,
    as_stored,
)

_NOT_ENDED: Final = Unknown("the call has not ended")

# Whatever else is raised, the driver's failures among it, does not say whether something was written.
_REFUSALS: Final = (
    CapabilityNotSupported,
    InvalidArgument,
    InvalidEvent,
    StoreNotOpen,
    StoreReadOnly,
    StreamDeleted,
    TransactionConflict,
    TransactionError,
)


class Journal:
    """The records of a history, in memory and, where a path is given, in a file of JSON lines as well.

    A call that may write something is in the journal from its start on, as `Unknown`, so the file tells of it even if
    its process is killed meanwhile. Each process has a file of its own; `read_journals` puts them together.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._records: dict[UUID, Record] = {}
        # Without a buffer: a line that was written outlives its process.
        self._file = None if path is None else path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is in memory stays."""
        if self._file is not None:
            self._file.close()

    def write(self, record: Record) -> None:
        """Add a record, in place of an earlier one of the same call."""
        self._records[record.call] = record
        if self._file is not None:
            self._file.write(_encode(record) + b"\n")

    @property
    def history(self) -> list[Record]:
        """All records, by their start."""
        return _by_start(self._records.values())


def read_journals(paths: Iterable[Path]) -> list[Record]:
    """Return the history in the files of several processes; a last line that is cut off was not written."""
    records: dict[UUID, Record] = {}
    for path in paths:
        *lines, _ = path.read_bytes().split(b"\n")
        for record in map(_decode, lines):
            records[record.call] = record
    return _by_start(records.values())


def _by_start(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.start)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode


class RecordingStore:
    """What one worker does with an open store, written down in a journal.

    The calls are those of `EventStore`, and answer as it does. What is written past them, in a transaction of one's own
    say, the check takes for events that nobody sent.
    """

    def __init__(
        self, store: EventStore, journal: Journal, *, worker: str, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """`worker` is a name for people to read; `clock` must be one for all workers of the history."""
        self.store = store
        self._journal = journal
        self._worker = worker
        self._clock = clock

    # --- Appending -----------------------------------------------------------------------------------------------

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        """Append as `EventStore.append` does."""

        async def call() -> list[list[RecordedEvent]]:
            return [await self.store.append(stream_id, events, expected_version=expected_version)]

        return (await self._append([StreamWrite(stream_id, events, expected_version)], call))[0]

    async def append_many(self, writes: Sequence[StreamWrite]) -> list[list[RecordedEvent]]:
        """Append as `EventStore.append_many` does."""
        return await self._append(writes, lambda: self.store.append_many(writes))

    async def _append(
        self, writes: Sequence[StreamWrite], call: Callable[[], Awaitable[list[list[RecordedEvent]]]]
    ) -> list[list[RecordedEvent]]:
        start = self._clock()
        begun = Append(uuid4(), self._worker, start, start, tuple(map(as_sent, writes)), _NOT_ENDED)
        self._journal.write(begun)
        try:
            recorded = await call()
        except BaseException as error:
            self._end(begun, _failure(error))
            raise
        self._end(begun, Acknowledged(tuple(tuple(map(as_stored, events)) for events in recorded)))
        return recorded

    # --- Reading -------------------------------------------------------------------------------------------------

    async def read_all(
        self, *, after: int = 0, before: int | None = None, filter: Filter | None = None, limit: int | None = None
    ) -> AsyncIterator[RecordedEvent]:
        """Read the log forward as `EventStore.read_all` does; recorded when the iteration ends."""
        start = self._clock()
        seen: list[StoredEvent] = []
        try:
            async for event in self.store.read_all(after=after, before=before, filter=filter, limit=limit):
                seen.append(as_stored(event))
                yield event
        finally:
            bookmark = seen[-1].position if seen else after
            self._journal.write(
                LogRead(uuid4(), self._worker, start, self._clock(), after, bookmark, filter, tuple(seen))
            )

    async def subscribe(self, *, after: int = 0, filter: Filter | None = None) -> AsyncIterator[RecordedEvent]:
        """Follow the log as `EventStore.subscribe` does; each event is recorded as a reading of its own."""
        bookmark, start = after, self._clock()
        async for event in self.store.subscribe(after=after, filter=filter):
            position, end = event.global_position, self._clock()
            seen = (as_stored(event),)
            self._journal.write(LogRead(uuid4(), self._worker, start, end, bookmark, position, filter, seen))
            bookmark, start = position, end
            yield event

    # --- Checkpoints ---------------------------------------------------------------------------------------------

    async def load_checkpoint(self, name: str) -> int:
        """Load as `EventStore.load_checkpoint` does."""
        start = self._clock()
        position = await self.store.load_checkpoint(name)
        self._journal.write(CheckpointLoad(uuid4(), self._worker, start, self._clock(), name, position))
        return position

    async def save_checkpoint(self, name: str, position: int, *, expected: int, rewind: bool = False) -> None:
        """Save as `EventStore.save_checkpoint` does."""
        start = self._clock()
        begun = CheckpointSave(uuid4(), self._worker, start, start, name, expected, position, _NOT_ENDED)
        self._journal.write(begun)
        try:
            await self.store.save_checkpoint(name, position, expected=expected, rewind=rewind)
        except CheckpointConflict as error:
            self._end(begun, NotMoved(error.actual))
            raise
        except BaseException as error:
            self._end(begun, _failure(error))
            raise
        self._end(begun, Moved())

    def _end(
        self, begun: Append | CheckpointSave, outcome: Acknowledged | Moved | NotMoved | Refused | Unknown
    ) -> None:
        self._journal.write(msgspec.structs.replace(begun, end=self._clock(), outcome=outcome))


def _failure(error: BaseException) -> Refused | Unknown:
    """Tell an error that says that nothing was written from one that does not."""
    name = type(error).__name__
    match error:
        case WrongExpectedVersion():
            return Refused(name, mismatches=tuple(Mismatch(*mismatch) for mismatch in error.mismatches))
        case DuplicateEventId():
            return Refused(name, event_ids=error.event_ids)
        case StoreUnavailable(outcome_unknown=False):
            return Refused(name)
        case _ if isinstance(error, _REFUSALS):
            return Refused(name)
        case _:
            return Unknown(f"{name}: {error}")

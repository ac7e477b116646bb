"""What a memory store holds, and every change of it as one synchronous step, which no other task can interrupt."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import TypeAlias
from uuid import UUID

import msgspec

from eventstore.backend import (
    Appended,
    AppendedStream,
    Conflict,
    Direction,
    EncodedEvent,
    EncodedSnapshot,
    Entry,
    LogPage,
    Outcome,
    Place,
    RestoredEvent,
    Snapshot,
    StreamAppend,
    StreamInfo,
    StreamState,
    Transaction,
)
from eventstore.batches import first_events
from eventstore.events import RecordedEvent, decode_json, stream_type_of
from eventstore.filters import Filter, WantedIds, wanted_ids
from eventstore.versions import ExpectedVersion, is_met

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class _StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as text, so that nothing handed out is shared with what is kept."""

    stream_id: str
    stream_type: str
    version: int
    position: int
    event: EncodedEvent
    created_at: datetime

    def decoded(self) -> RecordedEvent:
        event = self.event
        return RecordedEvent(
            self.stream_id,
            self.stream_type,
            self.version,
            self.position,
            event.event_id,
            event.event_type,
            decode_json(event.data),
            decode_json(event.metadata),
            self.created_at,
        )


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_position = attrgetter("position")


@dataclass(slots=True)
class _Stream:
    """The events of one stream, of consecutive versions; `version` stays when they are gone."""

    stream_id: str
    version: int = 0
    deleted: bool = False
    last_created_at: datetime = _LONG_AGO
    events: list[_StoredEvent] = field(default_factory=list)

    @property
    def first_version(self) -> int:
        return self.version + 1 - len(self.events)

    def state(self) -> StreamState:
        return StreamState(self.stream_id, self.version, self.deleted)

    def info(self) -> StreamInfo:
        return StreamInfo(
            self.stream_id, stream_type_of(self.stream_id), self.version, self.first_version, self.deleted
        )

    def copy(self) -> _Stream:
        return replace(self, events=self.events.copy())


class State:
    """All that a store holds."""

    def __init__(self, clock: Clock) -> None:
        self.head = 0
        self.snapshots: dict[str, tuple[EncodedSnapshot, datetime]] = {}
        self.checkpoints: dict[str, int] = {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self._clock = clock
        # Shared by all copies: a position drawn in a transaction that rolls back is never used again.
        self._positions = itertools.count(1)
        self._streams: dict[str, _Stream] = {}
        # In order up to the last listing; new ones stand behind.
        self._stream_ids: list[str] = []
        self._are_ids_sorted = True
        self._log: list[_StoredEvent] = []
        self._by_id: dict[UUID, _StoredEvent] = {}

    def copy(self) -> State:
        """Return a copy that shares nothing that can change, but for the positions that it draws."""
        copy = State(self._clock)
        copy.head = self.head
        copy.snapshots = self.snapshots.copy()
        copy.checkpoints = self.checkpoints.copy()
        copy.entries = self.entries.copy()
        copy._positions = self._positions
        copy._streams = {stream_id: stream.copy() for stream_id, stream in self._streams.items()}
        copy._stream_ids = self._stream_ids.copy()
        copy._are_ids_sorted = self._are_ids_sorted
        copy._log = self._log.copy()
        copy._by_id = self._by_id.copy()
        return copy

    # --- Appending -----------------------------------------------------------------------------------------------

    def append(self, transaction: Transaction) -> Outcome:
        """Store a transaction, or say why not."""
        states = tuple(self._state_of(append.stream_id) for append in transaction)
        stored = tuple(
            self._by_id[event.event_id].decoded()
            for append in transaction
            for event in append.events
            if event.event_id in self._by_id
        )
        ready = all(
            not state.deleted and is_met(append.expected_version, state.version)
            for append, state in zip(transaction, states, strict=True)
        )
        if stored or not ready:
            return Conflict(states, stored)
        return Appended(tuple(self._place(append) for append in transaction))

    def _place(self, append: StreamAppend) -> AppendedStream:
        stream = self._stream_to_write(append.stream_id)
        created_at = max(self._clock(), stream.last_created_at)
        first_version = stream.version + 1
        positions = tuple(
            self._store(stream, append.stream_type, version, event, created_at)
            for version, event in enumerate(append.events, first_version)
        )
        return AppendedStream(first_version, positions, created_at)

    def _store(self, stream: _Stream, stream_type: str, version: int, event: EncodedEvent, created_at: datetime) -> int:
        stored = _StoredEvent(stream.stream_id, stream_type, version, next(self._positions), event, created_at)
        stream.version, stream.last_created_at = version, created_at
        stream.events.append(stored)
        self._log.append(stored)
        self._by_id[event.event_id] = stored
        self.head = stored.position
        return stored.position

    # --- Restoring -----------------------------------------------------------------------------------------------

    def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events as another store recorded them, or say why not."""
        firsts = first_events(events)
        states = tuple(map(self._state_of, firsts))
        ids = [event.event.event_id for event in events]
        stored = tuple(self._by_id[event_id].decoded() for event_id in ids if event_id in self._by_id)
        if stored or not all(map(self._follows, firsts.values())):
            return Conflict(states, stored)
        return tuple(
            self._store(
                self._stream_to_write(event.stream_id), event.stream_type, event.version, event.event, event.created_at
            )
            for event in events
        )

    def _follows(self, event: RestoredEvent) -> bool:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return event.version == 1
        return not stream.deleted and event.version == stream.version + 1 and event.created_at >= stream.last_created_at

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        """Let a stream without events be at a version, or return its state."""
        stream = self._streams.get(stream_id)
        if stream is not None and (stream.events or stream.deleted or stream.version > version):
            return stream.state()
        self._stream_to_write(stream_id).version = version
        return None

    # --- States --------------------------------------------------------------------------------------------------

    def _state_of(self, stream_id: str) -> StreamState:
        stream = self._streams.get(stream_id)
        return stream.state() if stream else StreamState(stream_id, 0, deleted=False)

    def _stream_to_write(self, stream_id: str) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = _Stream(stream_id)
            self._stream_ids.append(stream_id)
            self._are_ids_sorted = False
        return stream

    # --- Reading -------------------------------------------------------------------------------------------------

    def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        """Return a page of a stream, None if it is deleted."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return []
        if stream.deleted:
            return None
        if direction is Direction.FORWARD:
            first = max(0, (start or 1) - stream.first_version)
            page = stream.events[first : first + limit]
        else:
            last = len(stream.events) if start is None else max(0, start + 1 - stream.first_version)
            page = stream.events[max(0, min(last, len(stream.events)) - limit) : last][::-1]
        return [event.decoded() for event in page]

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return a page of the log."""
        events: list[RecordedEvent] = []
        looked_to = start or 0
        for stored in self._log_from(start, direction):
            looked_to = stored.position
            event = stored.decoded()
            if filter is None or filter.matches(event):
                events.append(event)
                if len(events) == limit:
                    return LogPage(events, looked_to, at_end=False)
        end = max(looked_to, self.head) if direction is Direction.FORWARD else 0
        return LogPage(events, end, at_end=True)

    def _log_from(self, start: int | None, direction: Direction) -> Iterator[_StoredEvent]:
        if direction is Direction.FORWARD:
            indexes = range(bisect_right(self._log, start or 0, key=_position), len(self._log))
        else:
            end = len(self._log) if start is None else bisect_left(self._log, start, key=_position)
            indexes = range(end - 1, -1, -1)
        return (self._log[index] for index in indexes)

    # --- Streams -------------------------------------------------------------------------------------------------

    def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream."""
        stream = self._streams.get(stream_id)
        return stream.info() if stream else None

    def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        """Return a page of streams by id; Python compares strings by code point, which is the byte order of UTF-8."""
        streams = (
            self._streams[stream_id]
            for stream_id in self._ids(wanted_ids(stream_type, prefix), after or "")
            if stream_id in self._streams
        )
        listed = (stream.info() for stream in streams if include_deleted or not stream.deleted)
        return list(itertools.islice(listed, limit))

    def _ids(self, wanted: WantedIds, after: str) -> Iterator[str]:
        if wanted.alone is not None and wanted.alone > after:
            yield wanted.alone
        if wanted.prefix is not None:
            ids = self._sorted_ids()
            first = max(bisect_left(ids, wanted.prefix), bisect_right(ids, after))
            for stream_id in itertools.islice(ids, first, None):
                if not stream_id.startswith(wanted.prefix):
                    return
                yield stream_id

    def _sorted_ids(self) -> list[str]:
        if not self._are_ids_sorted:
            self._stream_ids.sort()
            self._are_ids_sorted = True
        return self._stream_ids

    def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        """Return where events stand, by stream and version."""
        return list(itertools.islice(self._places(*(after or ("", 0))), limit))

    def _places(self, after: str, version: int) -> Iterator[Place]:
        ids = self._sorted_ids()
        for stream_id in itertools.islice(ids, bisect_left(ids, after), None):
            stream = self._streams[stream_id]
            first = max(0, version + 1 - stream.first_version) if stream_id == after else 0
            for event in itertools.islice(stream.events, first, None):
                yield Place(stream_id, event.version, event.position, event.created_at)

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        """Remove events below a version."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0
        if stream.deleted:
            return None
        return self._remove(stream, min(before_version - stream.first_version, len(stream.events)))

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        """Put a tombstone on a stream."""
        state = self._state_of(stream_id)
        stream = self._streams.get(stream_id)
        nothing_left = stream is not None and stream.deleted and not (erase and stream.events)
        if nothing_left or not is_met(expected_version, state.version):
            return state
        stream = self._stream_to_write(stream_id)
        stream.deleted = True
        self.snapshots.pop(stream_id, None)
        if erase:
            self._remove(stream, len(stream.events))
        return None

    def _remove(self, stream: _Stream, number: int) -> int:
        """Remove a stream's first events everywhere."""
        removed = stream.events[: max(0, number)]
        if removed:
            del stream.events[: len(removed)]
            gone = {event.position for event in removed}
            self._log = [event for event in self._log if event.position not in gone]
            for event in removed:
                del self._by_id[event.event.event_id]
        return len(removed)

    # --- Snapshots -----------------------------------------------------------------------------------------------

    def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the latest snapshot."""
        if stream_id not in self.snapshots:
            return None
        snapshot, created_at = self.snapshots[stream_id]
        return Snapshot(stream_id, snapshot.version, decode_json(snapshot.data), created_at)

    def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        """Keep a snapshot unless a later one is there."""
        state = self._state_of(snapshot.stream_id)
        if state.deleted or state.version < snapshot.version:
            return state
        kept = self.snapshots.get(snapshot.stream_id)
        if kept is None or kept[0].version <= snapshot.version:
            self.snapshots[snapshot.stream_id] = (snapshot, self._clock())
        return None

"""What an event store is, in plain Python: the model that the stateful chapter compares every store with.

It knows no positions and no times; those are the store's to give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from eventstore import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion, NewEvent, StreamInfo, StreamWrite


@dataclass
class Refused(Exception):
    """The call is refused: by an error of this name, with these facts."""

    error: str
    facts: object


@dataclass
class Stream:
    """A stream, with the events that are left of it by version."""

    version: int = 0
    deleted: bool = False
    events: dict[int, NewEvent] = field(default_factory=dict)


@dataclass
class Model:
    """All that a store holds."""

    streams: dict[str, Stream] = field(default_factory=dict)
    snapshots: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    checkpoints: dict[str, int] = field(default_factory=dict)

    # --- Calls ---------------------------------------------------------------------------------------------------

    def append(self, writes: Sequence[StreamWrite]) -> list[list[int]]:
        """Append, and return the versions of the events of each write."""
        for write in writes:
            if self.stream(write.stream_id).deleted:
                raise Refused("StreamDeleted", write.stream_id)
        taken = {event.event_id for write in writes for event in write.events} & self.event_ids()
        if taken:
            if all(map(self.is_stored, writes)):
                return [[self.place(event) for event in write.events] for write in writes]
            raise Refused("DuplicateEventId", taken)
        wrong = [
            (write.stream_id, write.expected_version, self.stream(write.stream_id).version)
            for write in writes
            if not self.meets(write.stream_id, write.expected_version)
        ]
        if wrong:
            raise Refused("WrongExpectedVersion", wrong)
        return [self.add(write.stream_id, write.events) for write in writes]

    def truncate(self, stream_id: str, before_version: int) -> int:
        """Remove events below a version, and return how many."""
        stream = self.stream(stream_id)
        if stream.deleted:
            raise Refused("StreamDeleted", stream_id)
        below = [version for version in stream.events if version < before_version]
        for version in below:
            del stream.events[version]
        return len(below)

    def delete(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> None:
        """Put a tombstone on a stream; `erase` removes what is left of its events."""
        stream = self.stream(stream_id)
        as_expected = self.meets(stream_id, expected_version)
        if stream.deleted and (not erase or (as_expected and not stream.events)):
            raise Refused("StreamDeleted", stream_id)
        if not as_expected:
            raise Refused("WrongExpectedVersion", [(stream_id, expected_version, stream.version)])
        self.streams[stream_id] = stream
        stream.deleted = True
        if erase:
            stream.events.clear()
        self.snapshots.pop(stream_id, None)

    def save_snapshot(self, stream_id: str, version: int, data: dict[str, Any]) -> None:
        """Keep a snapshot unless there is a later one."""
        stream = self.stream(stream_id)
        if stream.deleted:
            raise Refused("StreamDeleted", stream_id)
        if version > stream.version:
            raise Refused("WrongExpectedVersion", [(stream_id, version, stream.version)])
        if version >= self.snapshots.get(stream_id, (0, {}))[0]:
            self.snapshots[stream_id] = (version, data)

    def save_checkpoint(self, name: str, position: int, expected: int) -> None:
        """Move a checkpoint if it is where it is expected."""
        found = self.checkpoints.get(name, 0)
        if found != expected:
            raise Refused("CheckpointConflict", (name, expected, found))
        self.checkpoints[name] = position

    # --- Questions -----------------------------------------------------------------------------------------------

    def stream(self, stream_id: str) -> Stream:
        """Return a stream, an empty one if there is none."""
        return self.streams.get(stream_id, Stream())

    def info(self, stream_id: str) -> StreamInfo | None:
        """Return what `stream_info` says."""
        if stream_id not in self.streams:
            return None
        stream = self.streams[stream_id]
        first_version = min(stream.events, default=stream.version + 1)
        return StreamInfo(stream_id, stream_id.split("-")[0], stream.version, first_version, stream.deleted)

    def event_ids(self) -> set[UUID]:
        """Return the ids of all the events there are."""
        return {event.event_id for stream in self.streams.values() for event in stream.events.values()}

    def meets(self, stream_id: str, expected: ExpectedVersion) -> bool:
        """Tell whether a stream is at the version expected."""
        version = self.stream(stream_id).version
        if expected is ANY:
            return True
        if expected is NO_STREAM:
            return version == 0
        if expected is STREAM_EXISTS:
            return version > 0
        return version == expected

    def is_stored(self, write: StreamWrite) -> bool:
        """Tell whether this very batch stands right where it would have gone."""
        events = self.stream(write.stream_id).events
        if isinstance(write.expected_version, int):
            first = write.expected_version + 1
        elif write.expected_version is NO_STREAM:
            first = 1
        else:
            first = next((version for version, event in events.items() if event == write.events[0]), 0)
        return all(events.get(version) == event for version, event in enumerate(write.events, first))

    # --- Inside --------------------------------------------------------------------------------------------------

    def add(self, stream_id: str, events: Sequence[NewEvent]) -> list[int]:
        """Add events to a stream, and return their versions."""
        stream = self.streams.setdefault(stream_id, Stream())
        versions = [stream.version + n for n in range(1, len(events) + 1)]
        stream.events.update(zip(versions, events, strict=True))
        stream.version = versions[-1]
        return versions

    def place(self, wanted: NewEvent) -> int:
        """Return the version at which an event stands."""
        return next(
            version
            for stream in self.streams.values()
            for version, event in stream.events.items()
            if event.event_id == wanted.event_id
        )

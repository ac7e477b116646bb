"""What happened to a store, as those who used it saw it: the records of calls and readings that a check goes through.

Instants are nanoseconds of one clock that never goes back, and all workers of a machine share it (`time.monotonic_ns`).
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from eventstore import ExpectedVersion, Filter, NewEvent, RecordedEvent, StreamWrite


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as the store showed it; `digest` stands for its type and payload."""

    event_id: UUID
    stream_id: str
    version: int
    position: int
    digest: str


class SentEvent(msgspec.Struct, frozen=True):
    """An event as it was sent."""

    event_id: UUID
    digest: str


class SentWrite(msgspec.Struct, frozen=True):
    """A batch as it was sent to one stream."""

    stream_id: str
    expected_version: ExpectedVersion
    events: tuple[SentEvent, ...]


# --- How a call ended ------------------------------------------------------------------------------------------------


class Acknowledged(msgspec.Struct, frozen=True, tag=True):
    """The store says that the events are stored: for each write the events that it returned."""

    events: tuple[tuple[StoredEvent, ...], ...]


class Mismatch(msgspec.Struct, frozen=True):
    """An expectation that the store says failed."""

    stream_id: str
    expected: ExpectedVersion
    actual: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The store says that nothing was written, by an error of this name.

    `mismatches` are those of `WrongExpectedVersion`, `event_ids` those of `DuplicateEventId`.
    """

    error: str
    mismatches: tuple[Mismatch, ...] = ()
    event_ids: tuple[UUID, ...] = ()


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """The caller cannot tell: the call was cancelled, its connection lost, or its process killed.

    It may take effect at any time after its start, also after its end.
    """

    reason: str


class Moved(msgspec.Struct, frozen=True, tag=True):
    """The store says that the checkpoint moved."""


class NotMoved(msgspec.Struct, frozen=True, tag=True):
    """The store says that the checkpoint is elsewhere."""

    actual: int


# --- What was done ---------------------------------------------------------------------------------------------------


class Append(msgspec.Struct, frozen=True, tag=True):
    """An `append`, or an `append_many`. Sent again, it is another call with the same event ids."""

    call: UUID
    worker: str
    start: int
    end: int
    writes: tuple[SentWrite, ...]
    outcome: Acknowledged | Refused | Unknown


class LogRead(msgspec.Struct, frozen=True, tag=True):
    """A reading of the log forward from `after`, as far as `bookmark`: what was seen on the way, in order.

    A follower makes many of them, each from the bookmark of the one before.
    """

    call: UUID
    worker: str
    start: int
    end: int
    after: int
    bookmark: int
    filter: Filter | None
    events: tuple[StoredEvent, ...]


class CheckpointSave(msgspec.Struct, frozen=True, tag=True):
    """A `save_checkpoint`."""

    call: UUID
    worker: str
    start: int
    end: int
    name: str
    expected: int
    position: int
    outcome: Moved | NotMoved | Refused | Unknown


class CheckpointLoad(msgspec.Struct, frozen=True, tag=True):
    """A `load_checkpoint`."""

    call: UUID
    worker: str
    start: int
    end: int
    name: str
    position: int


Record: TypeAlias = Append | LogRead | CheckpointSave | CheckpointLoad
"""One call, by whom, from when to when."""


# --- Making them -----------------------------------------------------------------------------------------------------

_encode_sorted: Final = msgspec.json.Encoder(order="deterministic").encode
_MINUS_ZERO: Final = re.compile(rb"-0\.0(?![0-9])")


def digest_of(event: NewEvent | RecordedEvent) -> str:
    """Return what stands for an event's type and payload: equal for equal ones, different for others.

    Empty for what no store takes, since it is no JSON.
    """
    try:
        text = _encode_sorted([event.event_type, event.data, event.metadata])
    except (TypeError, ValueError, OverflowError, RecursionError):
        return ""
    # Stores make minus zero zero.
    return hashlib.blake2b(_MINUS_ZERO.sub(b"0.0", text), digest_size=12).hexdigest()


def as_sent(write: StreamWrite) -> SentWrite:
    """Return what is recorded of a write."""
    events = tuple(SentEvent(event.event_id, digest_of(event)) for event in write.events)
    return SentWrite(write.stream_id, write.expected_version, events)


def as_stored(event: RecordedEvent) -> StoredEvent:
    """Return what is recorded of an event that a store handed out."""
    return StoredEvent(event.event_id, event.stream_id, event.version, event.global_position, digest_of(event))

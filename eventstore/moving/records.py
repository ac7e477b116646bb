"""The lines of an export: one JSON object each, what it is in the field `record`, in the order of `RECORDS`.

`docs/moving.md` describes them for those who read such a file, or write one. A change that older versions of the
library would misread gets another number of the format.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from eventstore.events import JsonObject
from eventstore.versions import MAX_VERSION

FORMAT: Final = 1
"""The number of the format that this version writes, and the latest that it reads."""

# A tombstone takes one version more.
Version: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=MAX_VERSION)]
VersionOrNone: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)]
Position: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="record"):
    """A line of an export."""


class Header(Record, frozen=True, tag="eventstore export"):
    """The first line: which format this is, and up to which position the log was exported, when, from which engine."""

    format: Annotated[int, msgspec.Meta(ge=1)]
    head: Position
    engine: str
    exported_at: Time


class Event(Record, frozen=True, gc=False, tag="event"):
    """An event, in the order of the log. Its position is that of the store it comes from."""

    stream_id: str
    version: Version
    global_position: Position
    event_id: UUID
    event_type: str
    created_at: Time
    data: JsonObject
    metadata: JsonObject


class Stream(Record, frozen=True, tag="stream"):
    """What a stream went through that its events do not tell: it was truncated, or deleted."""

    stream_id: str
    version: VersionOrNone
    first_version: Version
    deleted: bool

    @property
    def is_empty(self) -> bool:
        """Whether none of its events is left."""
        return self.first_version > self.version


class Snapshot(Record, frozen=True, tag="snapshot"):
    """The latest snapshot of a stream."""

    stream_id: str
    version: Version
    data: JsonObject


class Checkpoint(Record, frozen=True, tag="checkpoint"):
    """A checkpoint; its position is that of the store it comes from."""

    name: str
    position: Position


class ConsumerEntry(Record, frozen=True, tag="consumer"):
    """What a consumer keeps, as `eventstore.ledger` has it; positions are those of the store it comes from."""

    name: str
    key: str
    data: JsonObject


class End(Record, frozen=True, tag="end"):
    """The last line: how many there are of each kind, and the SHA-256 of the lines before it, in hexadecimal.

    So a file that was cut short or damaged is known. A file made by hand may leave the latter out.
    """

    events: Count
    streams: Count
    snapshots: Count
    checkpoints: Count
    consumers: Count
    sha256: str | None = None


AnyRecord: TypeAlias = Header | Event | Stream | Snapshot | Checkpoint | ConsumerEntry | End

RECORDS: Final[tuple[type[AnyRecord], ...]] = (Header, Event, Stream, Snapshot, Checkpoint, ConsumerEntry, End)
"""In the order in which they stand in a file."""

_encode = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(AnyRecord).decode
"""Return the record of a line, or raise `ValueError` or `RecursionError`."""


class _Format(msgspec.Struct):
    """As much of a header as every format has."""

    record: Literal["eventstore export"]
    format: int


def later_format(text: bytes) -> int | None:
    """Return the number of the format of a header that is later than ours, None of whatever else."""
    try:
        found = msgspec.json.decode(text, type=_Format).format
    except (ValueError, RecursionError):
        return None
    return found if found > FORMAT else None


def encode_line(record: AnyRecord) -> bytes:
    """Return a record as a line of JSON."""
    return _encode(record) + b"\n"

"""What the tables hold, in MessagePack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from eventstore.backend import Snapshot, StreamInfo, StreamState
from eventstore.events import RecordedEvent, decode_json, stream_type_of

encode: Final = msgspec.msgpack.Encoder().encode

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LONG_AGO: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class EventRecord(msgspec.Struct, frozen=True, array_like=True):
    """An event; `data` and `metadata` are JSON text, `created_at` is in microseconds since 1970."""

    stream_id: str
    version: int
    event_id: bytes
    event_type: str
    data: bytes
    metadata: bytes
    created_at: int

    def recorded(self, position: int) -> RecordedEvent:
        """Return the event as the store hands it out."""
        return RecordedEvent(
            self.stream_id,
            stream_type_of(self.stream_id),
            self.version,
            position,
            UUID(bytes=self.event_id),
            self.event_type,
            decode_json(self.data),
            decode_json(self.metadata),
            time_of(self.created_at),
        )


class StreamRecord(msgspec.Struct, frozen=True, array_like=True):
    """A stream; its events are those from `first_version` to `version`, `created_at` is the time of the last one."""

    stream_id: str
    version: int = 0
    first_version: int = 1
    deleted: bool = False
    created_at: int = _LONG_AGO

    @property
    def state(self) -> StreamState:
        """What decides whether a write may change the stream."""
        return StreamState(self.stream_id, self.version, self.deleted)

    @property
    def info(self) -> StreamInfo:
        """What the store tells of the stream."""
        stream_type = stream_type_of(self.stream_id)
        return StreamInfo(self.stream_id, stream_type, self.version, self.first_version, self.deleted)


class SnapshotRecord(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot; `data` is JSON text."""

    stream_id: str
    version: int
    data: bytes
    created_at: int

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot as the store hands it out."""
        return Snapshot(self.stream_id, self.version, decode_json(self.data), time_of(self.created_at))


class CheckpointRecord(msgspec.Struct, frozen=True, array_like=True):
    """A checkpoint."""

    name: str
    position: int


class EntryRecord(msgspec.Struct, frozen=True, array_like=True):
    """An entry of a consumer."""

    name: str
    key: str
    version: int
    data: bytes


decode_event: Final = msgspec.msgpack.Decoder(EventRecord).decode
decode_stream: Final = msgspec.msgpack.Decoder(StreamRecord).decode
decode_snapshot: Final = msgspec.msgpack.Decoder(SnapshotRecord).decode
decode_entry: Final = msgspec.msgpack.Decoder(EntryRecord).decode
decode_checkpoint: Final = msgspec.msgpack.Decoder(CheckpointRecord).decode


def now() -> int:
    """Return the time in microseconds since 1970."""
    return microseconds_of(datetime.now(UTC))


def microseconds_of(time: datetime) -> int:
    """Return a time as it is stored."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime:
    """Return the time that is so many microseconds after 1970."""
    return _EPOCH + microseconds * _MICROSECOND

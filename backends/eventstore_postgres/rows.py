"""From rows to records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Final
from uuid import UUID

from msgspec import convert

from eventstore.events import RecordedEvent, decode_json

# https://www.postgresql.org/docs/current/datatype-datetime.html: microseconds since then, in eight bytes.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_unpack_bigint = Struct(">q").unpack


def time_of(sent: bytes) -> datetime:
    """Return the time of `timestamptz_send`, in UTC."""
    return _EPOCH + timedelta(0, 0, _unpack_bigint(sent)[0])


def microseconds_of(time: datetime) -> int:
    """Return the number that stands for a time, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def recorded_event(row: Sequence[Any]) -> RecordedEvent:
    """Return the event of a row of `event_columns`."""
    stream_id, stream_type, version, position, event_id, event_type, data, metadata, created_at = row
    return RecordedEvent(
        stream_id,
        stream_type,
        version,
        position,
        convert(event_id, UUID),  # three times as fast as UUID(bytes=event_id)
        event_type,
        decode_json(data),
        decode_json(metadata),
        time_of(created_at),
    )

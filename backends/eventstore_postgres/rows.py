"""From rows to records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from eventstore.events import RecordedEvent, decode_json


def recorded_event(row: Sequence[Any]) -> RecordedEvent:
    """Return the event of a row of `event_columns`."""
    stream_id, stream_type, version, position, event_id, event_type, data, metadata, created_at = row
    return RecordedEvent(
        stream_id,
        stream_type,
        version,
        position,
        event_id,
        event_type,
        decode_json(data),
        decode_json(metadata),
        created_at.astimezone(UTC),
    )

"""Exports made by hand."""

from __future__ import annotations

import io
import json
from typing import Any
from uuid import uuid4

TIME = "2024-02-29T12:00:00.000001Z"


def file_of(*records: dict[str, Any]) -> io.BytesIO:
    """Return an export that has these events and streams, and a header and an end around them."""
    kinds = [record["record"] for record in records]
    head = max((record.get("global_position", 0) for record in records), default=0)
    header = {"record": "eventstore export", "format": 1, "head": head, "engine": "hand", "exported_at": TIME}
    counts = {"events": kinds.count("event"), "streams": kinds.count("stream")}
    end = {"record": "end", **counts, "snapshots": 0, "checkpoints": 0, "consumers": 0}
    return io.BytesIO(b"".join(json.dumps(record).encode() + b"\n" for record in (header, *records, end)))


def an_event(stream_id: str, version: int, position: int, **fields: Any) -> dict[str, Any]:
    """Return the record of an event."""
    event = {
        "record": "event",
        "stream_id": stream_id,
        "version": version,
        "global_position": position,
        "event_id": str(uuid4()),
        "event_type": "Moved",
        "created_at": TIME,
        "data": {},
        "metadata": {},
    }
    return event | fields


def file_of_events(*places: tuple[str, int], data: dict[str, Any] | None = None) -> io.BytesIO:
    """Return an export that has events of these streams and versions, in this order."""
    return file_of(
        *(
            an_event(stream_id, version, position, data=data or {})
            for position, (stream_id, version) in enumerate(places, 1)
        )
    )

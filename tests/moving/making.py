"""Exports made by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

TIME = "2024-02-29T12:00:00.000001Z"


def file_of_events(*places: tuple[str, int], data: dict[str, Any] | None = None) -> io.BytesIO:
    """Return an export that has events of these streams and versions, in this order."""
    return io.BytesIO(b"".join(lines_of_events(places, data or {})))


def lines_of_events(places: Iterable[tuple[str, int]], data: dict[str, Any]) -> Iterator[bytes]:
    """Yield the lines of such an export."""
    events = [
        {"record": "event", "stream_id": stream_id, "version": version, "global_position": position,
         "event_id": str(uuid4()), "event_type": "Moved", "created_at": TIME, "data": data, "metadata": {}}
        for position, (stream_id, version) in enumerate(places, 1)
    ]  # fmt: skip
    head = len(events)
    yield _line({"record": "eventstore export", "format": 1, "head": head, "engine": "hand", "exported_at": TIME})
    yield from map(_line, events)
    counts = {"streams": 0, "snapshots": 0, "checkpoints": 0, "consumers": 0}
    yield _line({"record": "end", "events": head, **counts})


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"

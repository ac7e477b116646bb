"""Events that another store recorded, as parameters of restore.sql; and streams of which no event is left."""

from __future__ import annotations

from collections.abc import Sequence

from eventstore.backend import Conflict, RestoredEvent, StreamState
from eventstore.batches import first_events
from eventstore_sqlite import queries
from eventstore_sqlite.appending import Wanted, json_text, read_conflicts
from eventstore_sqlite.records import microseconds
from eventstore_sqlite.session import find_stream, state_of
from eventstore_sqlite.statements import Parameters, Run


async def restore_events(events: Sequence[RestoredEvent], write: Run, read: Run) -> tuple[int, ...] | Conflict:
    """Store events with their versions and times, or say why not; `read` must see what `write` wrote."""
    firsts = first_events(events)
    rows = await write(queries.RESTORE, _parameters(firsts, events))
    if len(rows) == len(events):
        return tuple(sorted(position for (position,) in rows))
    (conflict,) = await read_conflicts([Wanted(list(firsts), [event.event.event_id for event in events])], read)
    return conflict


async def restore_stream(stream_id: str, version: int, run: Run) -> StreamState | None:
    """Let a stream without events be at a version, or return its state; `run` is in a transaction that writes."""
    stream = await find_stream(stream_id, run)
    if stream is not None:
        has_events = stream.first_version <= stream.version
        if has_events or stream.deleted or stream.version > version:
            return state_of(stream_id, stream)
    await run(queries.KEEP_LIFECYCLE, {"stream_id": stream_id, "version": version, "deleted": False})
    return None


def _parameters(firsts: dict[str, RestoredEvent], events: Sequence[RestoredEvent]) -> Parameters:
    streams = [(first.stream_id, first.version, microseconds(first.created_at)) for first in firsts.values()]
    rows = [
        (
            restored.event.event_id,
            restored.stream_id,
            restored.stream_type,
            restored.version,
            restored.event.event_type,
            restored.event.data.decode(),
            restored.event.metadata.decode(),
            microseconds(restored.created_at),
        )
        for restored in events
    ]
    return {"streams": json_text(streams), "events": json_text(rows)}

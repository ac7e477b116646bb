"""Restoring, as a backend does it: the one place of the suite that goes past the public API, and what it takes.

How a store is moved is the core's business, the same on every engine. What a backend answers, and what it leaves behind
when it refuses, is the contract between the two, and shows only to who calls its primitives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from eventstore import Capability, EventStore, EventStoreError, RecordedEvent
from eventstore.backend import Conflict, EncodedEvent, RestoredEvent, StreamState
from eventstore_conformance.outcomes import check_claimed

__all__ = [
    "FAR_AHEAD",
    "LONG_AGO",
    "Conflict",
    "RestoredEvent",
    "StreamState",
    "an_old_event",
    "as_recorded",
    "in_turn",
    "refused",
    "restore",
    "restore_stream",
    "restored",
    "restores_unclaimed",
    "some_old_events",
]

LONG_AGO: Final = datetime(1970, 1, 1, 0, 0, 0, 1, UTC)
"""When no clock that is set right has ever recorded an event."""

FAR_AHEAD: Final = datetime(2100, 2, 28, 23, 59, 59, 999_999, UTC)
"""Later than the clock of any store."""


# --- The calls -------------------------------------------------------------------------------------------------------


async def restore(store: EventStore, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
    """Call the primitive `restore` of the store's backend, where it is claimed."""
    check_claimed(store, Capability.RESTORE)
    # As the core calls a backend: again while the database is out of reach.
    return await store._repeatable(store._backend.restore, events)


async def restore_stream(store: EventStore, stream_id: str, version: int) -> StreamState | None:
    """Call the primitive `restore_stream` of the store's backend, where it is claimed."""
    check_claimed(store, Capability.RESTORE)
    return await store._repeatable(store._backend.restore_stream, stream_id, version)


async def restored(store: EventStore, events: Sequence[RestoredEvent]) -> list[RecordedEvent]:
    """Restore events, which must be done, and return them as they are to be read."""
    outcome = await restore(store, events)
    assert not isinstance(outcome, Conflict), outcome
    return as_recorded(events, outcome)


async def refused(store: EventStore, events: Sequence[RestoredEvent]) -> Conflict:
    """Restore events, which must be refused, and return why."""
    outcome = await restore(store, events)
    assert isinstance(outcome, Conflict), outcome
    return outcome


async def restores_unclaimed(store: EventStore) -> bool:
    """Tell whether a store restores although its backend does not claim it; the method may as well be missing."""
    outcome: object = None
    with suppress(AttributeError, NotImplementedError, EventStoreError):
        outcome = await store._backend.restore([an_old_event("unclaimed-1", 1, LONG_AGO)])
    return isinstance(outcome, tuple)


# --- What is restored ------------------------------------------------------------------------------------------------


def an_old_event(
    stream_id: str,
    version: int,
    created_at: datetime,
    *,
    event_type: str = "Happened",
    event_id: UUID | None = None,
    data: Any = None,
    metadata: Any = None,
) -> RestoredEvent:
    """Return an event that another store recorded."""
    data = {"n": version} if data is None else data
    encoded = EncodedEvent(
        event_id or uuid4(), event_type, msgspec.json.encode(data), msgspec.json.encode(metadata or {"from": stream_id})
    )
    return RestoredEvent(stream_id, stream_id.partition("-")[0], version, encoded, created_at)


def some_old_events(
    stream_id: str, count: int, *, first_version: int = 1, created_at: datetime = LONG_AGO
) -> list[RestoredEvent]:
    """Return so many events of a stream, the first of them recorded at `created_at`, and then one every hour or so."""
    apart = timedelta(hours=1, microseconds=1)
    return [an_old_event(stream_id, first_version + n, created_at + n * apart) for n in range(count)]


def in_turn(*streams: Iterable[RestoredEvent]) -> list[RestoredEvent]:
    """Return the events of several streams of one length, one of each in turn, as they may lie in a log."""
    return [event for events in zip(*streams, strict=True) for event in events]


def as_recorded(events: Sequence[RestoredEvent], positions: Sequence[int]) -> list[RecordedEvent]:
    """Return events as they are read once they were restored at these positions."""
    return [
        RecordedEvent(
            event.stream_id,
            event.stream_type,
            event.version,
            position,
            event.event.event_id,
            event.event.event_type,
            msgspec.json.decode(event.event.data),
            msgspec.json.decode(event.event.metadata),
            event.created_at,
        )
        for event, position in zip(events, positions, strict=True)
    ]

"""What an append that was not simply stored means: idempotency and expectations, decided once for every backend.

The rules are a table: docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from eventstore.backend import Appended, Conflict, StreamAppend, StreamState, Transaction
from eventstore.errors import DuplicateEventId, StreamDeleted, VersionMismatch, WrongExpectedVersion
from eventstore.events import JsonObject, RecordedEvent, canonical_json, decode_json
from eventstore.versions import NO_STREAM, StreamExpectation, is_met

Payload = tuple[JsonObject, JsonObject]
"""The private copies of an event's data and metadata."""


def recorded_events(
    transaction: Transaction, payloads: Sequence[Sequence[Payload]], appended: Appended
) -> list[list[RecordedEvent]]:
    """Return the events of a transaction that was just stored, per stream."""
    return [
        [
            RecordedEvent(
                append.stream_id,
                append.stream_type,
                version,
                position,
                event.event_id,
                event.event_type,
                data,
                metadata,
                placed.created_at,
            )
            for version, (event, (data, metadata), position) in enumerate(
                zip(append.events, copies, placed.positions, strict=True), placed.first_version
            )
        ]
        for append, copies, placed in zip(transaction, payloads, appended.streams, strict=True)
    ]


def resolve_conflict(transaction: Transaction, conflict: Conflict) -> list[list[RecordedEvent]] | None:
    """Return the events as first recorded if this is the same batch sent again, None if it should be tried again.

    Raises `StreamDeleted`, `DuplicateEventId` or `WrongExpectedVersion`, in this order of precedence.
    """
    for state in conflict.streams:
        if state.deleted:
            raise StreamDeleted(state.stream_id)
    if conflict.stored:
        return _recorded_before(transaction, {event.event_id: event for event in conflict.stored})
    check_expectations(transaction, conflict.streams)
    return None


def check_expectations(transaction: Transaction, states: Sequence[StreamState]) -> None:
    """Raise `WrongExpectedVersion` with every expectation that the states do not meet."""
    mismatches = [
        VersionMismatch(append.stream_id, append.expected_version, state.version)
        for append, state in zip(transaction, states, strict=True)
        if not is_met(append.expected_version, state.version)
    ]
    if mismatches:
        raise WrongExpectedVersion(mismatches)


def _recorded_before(transaction: Transaction, stored: dict[UUID, RecordedEvent]) -> list[list[RecordedEvent]]:
    for append in transaction:
        fault = _reuse_fault(append, stored)
        if fault is not None:
            raise DuplicateEventId(list(stored), fault)
    return [[stored[event.event_id] for event in append.events] for append in transaction]


def _reuse_fault(append: StreamAppend, stored: dict[UUID, RecordedEvent]) -> str | None:
    """Return why the stored events are not this append sent again, None if they are."""
    found = [stored.get(event.event_id) for event in append.events]
    first = found[0]
    if first is None or first.stream_id != append.stream_id:
        return "they are not the same batch sent again"
    for version, (event, before) in enumerate(zip(append.events, found, strict=True), first.version):
        if before is None:
            return "only a part of the batch is stored"
        if before.stream_id != append.stream_id or before.version != version:
            return "they stand elsewhere or in another order"
        if event.event_type != before.event_type:
            return f"event {event.event_id} was stored as {before.event_type!r}"
        for part, text, value in (("data", event.data, before.data), ("metadata", event.metadata, before.metadata)):
            if canonical_json(decode_json(text)) != canonical_json(value):
                return f"event {event.event_id} was stored with other {part}"
    expected = 0 if append.expected_version is NO_STREAM else append.expected_version
    if not isinstance(expected, StreamExpectation) and first.version != expected + 1:
        return f"they stand at version {first.version}, not at {expected + 1}"
    return None

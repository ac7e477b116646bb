"""What must be so of every reader's view, which is a prefix of the log: a check for each kind of anomaly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from uuid import UUID

import msgspec

from eventstore import RecordedEvent
from eventstore_conformance.anomalies import Anomaly, AnomalyKind, place
from eventstore_conformance.evidence import Evidence
from eventstore_conformance.history import LogRead, StoredEvent, as_stored


def read_missed(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that up to its bookmark a reader saw all that its filter lets through."""
    for read in evidence.reads:
        seen = {event.event_id for event in read.events}
        for event in evidence.between(read.after, read.bookmark):
            if event.event_id not in seen and _is_wanted(read, event):
                around = _around(read.events, event.global_position)
                sentence = f"{read.worker} passed {place(event)}, which it never saw"
                yield Anomaly(AnomalyKind.READ_MISSED, sentence, (_part(read, *around),), (event,))


def read_twice(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a reader saw an event once."""
    for read in evidence.reads:
        seen: dict[UUID, StoredEvent] = {}
        for event in read.events:
            before = seen.get(event.event_id)
            seen[event.event_id] = event
            if before is not None:
                sentence = (
                    f"{read.worker} saw event {event.event_id} at {before.position} and again at {event.position}"
                )
                yield Anomaly(AnomalyKind.READ_TWICE, sentence, (_part(read, before, event),))


def read_out_of_order(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a reader saw events by position."""
    for read in evidence.reads:
        for before, event in pairwise(read.events):
            if event.position < before.position:
                sentence = f"{read.worker} saw position {event.position} after {before.position}"
                yield Anomaly(AnomalyKind.READ_OUT_OF_ORDER, sentence, (_part(read, before, event),))


def read_not_asked_for(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a reader saw what is after its start and passes its filter."""
    for read in evidence.reads:
        for event in read.events:
            logged = evidence.find(event.event_id)
            if event.position <= read.after or (logged is not None and not _is_wanted(read, logged)):
                sentence = f"{read.worker} saw position {event.position} after {read.after}, under {read.filter}"
                yield Anomaly(AnomalyKind.READ_NOT_ASKED_FOR, sentence, (_part(read, event),))


def read_not_stored(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what a reader saw is in the log for good."""
    for read in evidence.reads:
        for event in read.events:
            if event.event_id not in evidence.stored:
                sentence = f"{read.worker} saw event {event.event_id} at {event.position}, and it is not there"
                yield Anomaly(AnomalyKind.READ_NOT_STORED, sentence, (_part(read, event),))


def read_changed(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what a reader saw is what the log has, in every part."""
    for read in evidence.reads:
        for event in read.events:
            logged = evidence.stored.get(event.event_id, [])
            if logged and event not in map(as_stored, logged):
                sentence = f"{read.worker} saw event {event.event_id} otherwise than {place(logged[0])}"
                yield Anomaly(AnomalyKind.READ_CHANGED, sentence, (_part(read, event),), tuple(logged))


def read_before_sent(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what a reader saw had been sent."""
    for read in evidence.reads:
        for event in read.events:
            attempts = [append for append, _ in evidence.attempts.get(event.event_id, [])]
            if attempts and read.end < min(append.start for append in attempts):
                sentence = f"{read.worker} saw event {event.event_id} before {attempts[0].worker} sent it"
                yield Anomaly(AnomalyKind.READ_BEFORE_SENT, sentence, (_part(read, event), attempts[0]))


def _is_wanted(read: LogRead, event: RecordedEvent) -> bool:
    return read.filter is None or read.filter.matches(event)


def _around(events: tuple[StoredEvent, ...], position: int) -> list[StoredEvent]:
    """Return the last event seen below a position and the first above it."""
    below = [event for event in events if event.position < position]
    above = [event for event in events if event.position > position]
    return [*below[-1:], *above[:1]]


def _part(read: LogRead, *events: StoredEvent) -> LogRead:
    """Return a reading with only these of its events."""
    return msgspec.structs.replace(read, events=events)

"""What must be so of the order of events in real time: a check for each kind of anomaly.

What was stored before another was sent stands before it, whoever sent the two, through whatever store.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventstore import RecordedEvent
from eventstore_conformance.anomalies import Anomaly, AnomalyKind, place
from eventstore_conformance.evidence import Evidence


def stream_against_time(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that in one stream what was stored first has the lower version."""
    for events in evidence.streams.values():
        latest_sent = events[0]
        for event in events[1:]:
            if _is_stored_before_sending(evidence, event, latest_sent):
                yield _anomaly(evidence, AnomalyKind.STREAM_AGAINST_TIME, latest_sent, event)
            latest_sent = max(latest_sent, event, key=evidence.sent_at)


def log_against_time(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that in the log what was stored first has the lower position; of one stream the stream tells already."""
    latest_sent: list[RecordedEvent] = []
    for event in evidence.events:
        other = next((other for other in reversed(latest_sent) if other.stream_id != event.stream_id), None)
        if other is not None and _is_stored_before_sending(evidence, event, other):
            yield _anomaly(evidence, AnomalyKind.LOG_AGAINST_TIME, other, event)
        # One each of two streams: whatever the next event's stream is, one of them is of another.
        by_stream = {event.stream_id: event for event in sorted([*latest_sent, event], key=evidence.sent_at)}
        latest_sent = sorted(by_stream.values(), key=evidence.sent_at)[-2:]


def _is_stored_before_sending(evidence: Evidence, event: RecordedEvent, other: RecordedEvent) -> bool:
    return evidence.intervals[event.event_id].latest < evidence.sent_at(other)


def _anomaly(evidence: Evidence, kind: AnomalyKind, low: RecordedEvent, high: RecordedEvent) -> Anomaly:
    sentence = f"{place(low)} was sent when {place(high)} was stored already"
    records = (evidence.witnesses[high.event_id], evidence.first_attempt(low.event_id))
    return Anomaly(kind, sentence, records, (low, high))

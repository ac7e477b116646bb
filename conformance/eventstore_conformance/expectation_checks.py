"""What must be so of expected versions and refusals: a check for each kind of anomaly."""

from __future__ import annotations

from collections.abc import Iterator

from eventstore import NO_STREAM, RecordedEvent
from eventstore_conformance.anomalies import Anomaly, AnomalyKind, place
from eventstore_conformance.evidence import Evidence, StreamTimes, meets
from eventstore_conformance.history import Acknowledged, Append, Mismatch, SentWrite


def expectation_ignored(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a batch stands where its expected version would have put it.

    Sent again with another expectation, it must have been allowed there once; an exact expectation fits every time.
    """
    for event in evidence.events:
        if _continues(evidence, event):
            continue
        attempts = [attempt for attempt in evidence.possible_attempts(event.event_id) if _begins(attempt.write, event)]
        allowed = any(meets(write.expected_version, event.version - 1) for _, write in attempts)
        wrong = [
            append
            for append, write in attempts
            if not allowed or (isinstance(append.outcome, Acknowledged) and _excludes(write, event.version - 1))
        ]
        if wrong:
            sentence = f"{place(event)} begins a batch that {wrong[0].worker} did not send for there"
            yield Anomaly(AnomalyKind.EXPECTATION_IGNORED, sentence, (wrong[0],), (event,))


def _begins(write: SentWrite, event: RecordedEvent) -> bool:
    return write.stream_id == event.stream_id and write.events[0].event_id == event.event_id


def _continues(evidence: Evidence, event: RecordedEvent) -> bool:
    """Tell whether the event stands behind the one that was sent before it in a batch."""
    for _, write in evidence.possible_attempts(event.event_id):
        sent = [each.event_id for each in write.events]
        number = sent.index(event.event_id)
        before = evidence.find(sent[number - 1]) if number else None
        if before is not None and (before.stream_id, before.version + 1) == (event.stream_id, event.version):
            return True
    return False


def _excludes(write: SentWrite, version: int) -> bool:
    """Tell whether an exact expectation is for another version; the others fit a batch that is stored already."""
    is_exact = isinstance(write.expected_version, int) or write.expected_version is NO_STREAM
    return is_exact and not meets(write.expected_version, version)


def refused_wrongly(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what an append was refused for can have been so during the call."""
    for append, refusal in evidence.refused("WrongExpectedVersion"):
        if not refusal.mismatches:
            yield Anomaly(AnomalyKind.REFUSED_WRONGLY, f"{append.worker} was not told what did not match", (append,))
        for mismatch in refusal.mismatches:
            fault = _fault(append, mismatch, evidence.times_of(mismatch.stream_id))
            if fault is not None:
                sentence = f"{append.worker} was told that {mismatch.stream_id!r} is at {mismatch.actual}: {fault}"
                yield Anomaly(AnomalyKind.REFUSED_WRONGLY, sentence, (append,))
    for append, refusal in evidence.refused("DuplicateEventId"):
        for event_id in refusal.event_ids:
            tries = evidence.possible_attempts(event_id)
            if not any(other.start <= append.end for other, _ in tries):
                sentence = f"{append.worker} was told that event {event_id} is stored: nobody had sent it"
                yield Anomaly(AnomalyKind.REFUSED_WRONGLY, sentence, (append,))


def _fault(append: Append, mismatch: Mismatch, times: StreamTimes) -> str | None:
    """Return why the stream cannot have been at that version then, or need not have been refused for it."""
    if (mismatch.stream_id, mismatch.expected) not in {
        (write.stream_id, write.expected_version) for write in append.writes
    }:
        return "this was not asked"
    if meets(mismatch.expected, mismatch.actual):
        return f"that meets {mismatch.expected!r}"
    least, greatest = times.least(append.start), times.greatest(append.end)
    if mismatch.actual < least:
        return f"it had reached {least} before the call"
    if mismatch.actual > greatest:
        return f"it cannot have been above {greatest} until after the call"
    if mismatch.actual not in times.boundaries:
        return "this is in the middle of a batch"
    return None


def repeat_refused(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that an append that was acknowledged, sent again just as it was, is acknowledged again."""
    first: dict[tuple[SentWrite, ...], Append] = {}
    for append, _ in evidence.acknowledged():
        before = first.setdefault(append.writes, append)
        if append.end < before.end:
            first[append.writes] = append
    for error in ("WrongExpectedVersion", "DuplicateEventId"):
        for append, _ in evidence.refused(error):
            known = first.get(append.writes)
            if known is not None and known.end < append.start:
                sentence = f"{append.worker} got {error} for what {known.worker} had been acknowledged"
                yield Anomaly(AnomalyKind.REPEAT_REFUSED, sentence, (known, append))

"""What must be so of the log, and of what the answers said of it: a check for each kind of anomaly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from uuid import UUID

from eventstore import RecordedEvent
from eventstore_conformance.anomalies import Anomaly, AnomalyKind, place
from eventstore_conformance.evidence import Evidence
from eventstore_conformance.history import Acknowledged, Append, digest_of

# --- The log ---------------------------------------------------------------------------------------------------------


def positions_not_growing(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that each position is above the one before."""
    for before, event in pairwise(evidence.log):
        if event.global_position <= before.global_position:
            sentence = f"position {event.global_position} follows {before.global_position}"
            yield Anomaly(AnomalyKind.POSITIONS_NOT_GROWING, sentence, events=(before, event))


def versions_not_consecutive(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that the versions of a stream are 1, 2, 3 …, or go on from where it was before."""
    for stream_id, events in evidence.streams.items():
        last = evidence.base(stream_id)
        for number, event in enumerate(events):
            if event.version != last + 1:
                sentence = f"in stream {stream_id!r} version {event.version} follows {last}"
                yield Anomaly(
                    AnomalyKind.VERSIONS_NOT_CONSECUTIVE,
                    sentence,
                    events=tuple(events[max(0, number - 1) : number + 1]),
                )
            last = event.version


def log_against_stream(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that restricted to one stream, the log is the stream."""
    last: dict[str, RecordedEvent] = {}
    for event in evidence.events:
        before = last.get(event.stream_id)
        if before is not None and before.version > event.version:
            sentence = (
                f"in stream {event.stream_id!r} version {before.version} is at position {before.global_position}, "
                f"version {event.version} at {event.global_position}"
            )
            yield Anomaly(AnomalyKind.LOG_AGAINST_STREAM, sentence, events=(before, event))
        last[event.stream_id] = event


def stored_twice(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that an event is stored once."""
    for event_id, events in evidence.stored.items():
        if len(events) > 1:
            sentence = f"event {event_id} is at positions {', '.join(str(event.global_position) for event in events)}"
            yield Anomaly(AnomalyKind.STORED_TWICE, sentence, events=tuple(events))


def never_sent(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what is stored was sent."""
    for event in evidence.events:
        if event.event_id not in evidence.attempts:
            yield Anomaly(AnomalyKind.NEVER_SENT, f"{place(event)} was sent by nobody", events=(event,))


# --- What the answers said -------------------------------------------------------------------------------------------


def lost(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what is acknowledged is stored."""
    for append, _ in evidence.acknowledged():
        absent = [event_id for event_id in _ids(append) if event_id not in evidence.stored]
        if absent:
            sentence = f"acknowledged to {append.worker} and not stored: {', '.join(map(str, absent))}"
            yield Anomaly(AnomalyKind.LOST, sentence, (append,))


def stored_elsewhere(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what is acknowledged is where the answer said, whichever try stored it."""
    for append, answer in evidence.acknowledged():
        for said in (event for events in answer.events for event in events):
            found = evidence.stored.get(said.event_id, [])
            places = [(event.stream_id, event.version, event.global_position) for event in found]
            if places and (said.stream_id, said.version, said.position) not in places:
                sentence = (
                    f"event {said.event_id} was acknowledged at version {said.version} of {said.stream_id!r}, "
                    f"position {said.position}, but {place(found[0])} is it"
                )
                yield Anomaly(AnomalyKind.STORED_ELSEWHERE, sentence, (append,), tuple(found))


def wrong_answer(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that an answer has the events that were sent, of consecutive versions and growing positions."""
    for append, answer in evidence.acknowledged():
        if not _answers(append, answer):
            yield Anomaly(AnomalyKind.WRONG_ANSWER, f"{append.worker} got another answer than it asked for", (append,))


def _answers(append: Append, answer: Acknowledged) -> bool:
    if len(answer.events) != len(append.writes):
        return False
    for write, events in zip(append.writes, answer.events, strict=True):
        sent = [(write.stream_id, event.event_id, event.digest) for event in write.events]
        if [(event.stream_id, event.event_id, event.digest) for event in events] != sent:
            return False
        for before, event in pairwise(events):
            if event.version != before.version + 1 or event.position <= before.position:
                return False
    return True


def payload_changed(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what is stored is what was sent."""
    for event in evidence.log:
        attempts = evidence.possible_attempts(event.event_id)
        sent = {sent.digest for _, write in attempts for sent in write.events if sent.event_id == event.event_id}
        if sent and digest_of(event) not in sent:
            sentence = f"{place(event)} has not the type and payload that were sent"
            yield Anomaly(AnomalyKind.PAYLOAD_CHANGED, sentence, (attempts[0].append,), (event,))


def refused_but_stored(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that what was refused, at every try, is not stored."""
    reported: set[UUID] = set()
    for event in evidence.events:
        attempts = evidence.attempts.get(event.event_id, [])
        if not attempts or evidence.possible_attempts(event.event_id):
            continue
        append = attempts[0].append
        if append.call not in reported:
            reported.add(append.call)
            found = _found(evidence, append)
            sentence = f"an append of {append.worker} was refused, and {place(event)} is of it"
            yield Anomaly(AnomalyKind.REFUSED_BUT_STORED, sentence, (append,), found)


def stored_in_part(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that of an append whose outcome is unknown all events are stored, each batch in one piece, or none."""
    reported: set[UUID] = set()
    for event in evidence.events:
        appends = [append for append, _ in evidence.possible_attempts(event.event_id)]
        if not appends or any(isinstance(append.outcome, Acknowledged) for append in appends):
            continue
        append = appends[0]
        if append.call not in reported and not any(map(evidence.is_whole, appends)):
            reported.add(append.call)
            found = _found(evidence, append)
            sentence = f"of an append of {append.worker} {len(found)} of {len(_ids(append))} events are in their place"
            yield Anomaly(AnomalyKind.STORED_IN_PART, sentence, (append,), found)


def _ids(append: Append) -> list[UUID]:
    return [event.event_id for write in append.writes for event in write.events]


def _found(evidence: Evidence, append: Append) -> tuple[RecordedEvent, ...]:
    return tuple(event for event in map(evidence.find, _ids(append)) if event is not None)

"""Ways to damage a good history, each as a broken store would have left it.

A damage picks a place at random, and returns what the check must show: the id of a call, or of an event. It returns
None where the history has no such place.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

from msgspec.structs import replace

from eventstore import ANY, NO_STREAM, ExpectedVersion, NewEvent, RecordedEvent
from eventstore_conformance.anomalies import AnomalyKind
from eventstore_conformance.history import (
    Acknowledged,
    Append,
    CheckpointLoad,
    CheckpointSave,
    LogRead,
    Mismatch,
    Moved,
    NotMoved,
    Record,
    Refused,
    SentWrite,
    StoredEvent,
    Unknown,
    as_stored,
)
from tests.conformance.simulated_history import Story, recorded_at

Place = TypeVar("Place")
Damage: TypeAlias = Callable[[Story, random.Random], UUID | None]

NEW_CALL: Final = UUID(int=1)
NEW_EVENT: Final = NewEvent("Odd", {}, {}, UUID(int=2))


# --- The log ---------------------------------------------------------------------------------------------------------


def list_the_log_in_another_order(story: Story, chance: random.Random) -> UUID | None:
    at = chance.randrange(len(story.log) - 1)
    story.log[at : at + 2] = story.log[at : at + 2][::-1]
    return story.log[at].event_id


def leave_a_version_out(story: Story, chance: random.Random) -> UUID | None:
    event = last_of_a_stream(story, chance)
    return move(story, event, event.version + 1, event.global_position) if event else None


def use_a_version_twice(story: Story, chance: random.Random) -> UUID | None:
    event = last_of_a_stream(story, chance)
    return move(story, event, event.version - 1, event.global_position) if event else None


def order_the_log_against_a_stream(story: Story, chance: random.Random) -> UUID | None:
    pair = two_of_one_stream(story, chance)
    if pair is None:
        return None
    low, high = pair
    move(story, low, low.version, high.global_position)
    return move(story, high, high.version, low.global_position)


def store_twice(story: Story, chance: random.Random) -> UUID | None:
    event = chance.choice(story.log)
    add_to_log(story, event.stream_id, story.sent[event.event_id])
    return event.event_id


def store_what_nobody_sent(story: Story, chance: random.Random) -> UUID | None:
    add_to_log(story, chance.choice(story.log).stream_id, NEW_EVENT)
    return NEW_EVENT.event_id


# --- Answers ---------------------------------------------------------------------------------------------------------


def lose_an_acknowledged_event(story: Story, chance: random.Random) -> UUID | None:
    event = last_of_a_stream(story, chance)
    if event is None:
        return None
    forget_reads(story)
    story.log.remove(event)
    return tries(story, event.event_id)[0].call


def lose_a_part_of_an_acknowledged_batch(story: Story, chance: random.Random) -> UUID | None:
    forget_reads(story)
    append, answer = chance.choice(acknowledged(story))
    lost = answer.events[-1][-1]
    story.log[:] = [event for event in story.log if event.event_id != lost.event_id]
    return append.call


def store_at_another_position(story: Story, chance: random.Random) -> UUID | None:
    forget_reads(story)
    event = chance.choice([event for _, answer in acknowledged(story) for event in answer.events[0]])
    change_log(story, event.event_id, global_position=event.position + 1)
    return event.event_id


def store_in_another_stream(story: Story, chance: random.Random) -> UUID | None:
    event = last_of_a_stream(story, chance)
    if event is None:
        return None
    forget_reads(story)
    version = 1 + sum(other.stream_id == "b-1" for other in story.log)
    change_log(story, event.event_id, stream_id="b-1", version=version)
    return event.event_id


def answer_with_another_version(story: Story, chance: random.Random) -> UUID | None:
    append, answer = chance.choice(acknowledged(story))
    first, *others = answer.events
    return change_answer(story, append, [replace(event, version=event.version + 1) for event in first], *others)


def answer_with_another_payload(story: Story, chance: random.Random) -> UUID | None:
    append, answer = chance.choice(acknowledged(story))
    first, *others = answer.events
    return change_answer(story, append, [replace(first[0], digest="other"), *first[1:]], *others)


def answer_for_a_part(story: Story, chance: random.Random) -> UUID | None:
    append, answer = chance.choice(acknowledged(story))
    first, *others = answer.events
    return change_answer(story, append, first[:-1], *others)


def answer_for_one_stream_of_two(story: Story, chance: random.Random) -> UUID | None:
    answers = [(append, answer) for append, answer in acknowledged(story) if len(answer.events) > 1]
    if not answers:
        return None
    append, answer = chance.choice(answers)
    return change_answer(story, append, answer.events[0])


def change_the_payload(story: Story, chance: random.Random) -> UUID | None:
    forget_reads(story)
    event = chance.choice(story.log)
    change_log(story, event.event_id, data={"n": float(event.data["n"])})
    return event.event_id


def change_the_type(story: Story, chance: random.Random) -> UUID | None:
    forget_reads(story)
    event = chance.choice(story.log)
    change_log(story, event.event_id, event_type="Other")
    return event.event_id


def store_what_was_refused(story: Story, chance: random.Random) -> UUID | None:
    append = choose(chance, [append for append in sent_once(story) if isinstance(append.outcome, Refused)])
    if append is None:
        return None
    for event in append.writes[0].events:
        add_to_log(story, append.writes[0].stream_id, story.sent[event.event_id])
    return append.call


def store_a_part(story: Story, chance: random.Random) -> UUID | None:
    append = choose(chance, [append for append in unknown(story, stored=False) if len(append.writes[0].events) > 1])
    if append is None:
        return None
    add_to_log(story, append.writes[0].stream_id, story.sent[append.writes[0].events[0].event_id])
    return append.call


def store_one_stream_of_two(story: Story, chance: random.Random) -> UUID | None:
    append = choose(chance, [append for append in unknown(story, stored=False) if len(append.writes) > 1])
    if append is None:
        return None
    for event in append.writes[0].events:
        add_to_log(story, append.writes[0].stream_id, story.sent[event.event_id])
    return append.call


def store_a_batch_in_two_pieces(story: Story, chance: random.Random) -> UUID | None:
    append = choose(chance, [append for append in unknown(story, stored=False) if len(append.writes[0].events) > 1])
    if append is None or append.writes[1:]:
        return None
    other = Append(NEW_CALL, "other", append.start, append.end, (), Unknown("cancelled"))
    first, *rest = append.writes[0].events
    for event in (story.sent[first.event_id], NEW_EVENT, *(story.sent[event.event_id] for event in rest)):
        add_to_log(story, append.writes[0].stream_id, event)
    sent = as_stored(story.log[-1 - len(rest)])
    write = SentWrite(sent.stream_id, ANY, (replace(first, event_id=sent.event_id, digest=sent.digest),))
    story.history.append(replace(other, writes=(write,)))
    return append.call


# --- Expectations ----------------------------------------------------------------------------------------------------


def expect_another_version(story: Story, chance: random.Random) -> UUID | None:
    append = chance.choice([append for append, _ in acknowledged(story)])
    return expect(story, append, 1_000)


def expect_no_stream_where_there_is_one(story: Story, chance: random.Random) -> UUID | None:
    answers = [append for append, answer in acknowledged(story) if answer.events[0][0].version > 1]
    return expect(story, chance.choice(answers), NO_STREAM)


def store_an_unknown_append_where_it_did_not_belong(story: Story, chance: random.Random) -> UUID | None:
    append = choose(chance, unknown(story, stored=True))
    return expect(story, append, 1_000) if append else None


def refuse_for_a_version_never_reached(story: Story, chance: random.Random) -> UUID | None:
    return refuse(story, chance, lambda mismatch: replace(mismatch, actual=mismatch.actual + 1_000))


def refuse_for_what_meets_the_expectation(story: Story, chance: random.Random) -> UUID | None:
    return refuse(story, chance, lambda mismatch: replace(mismatch, expected=ANY))


def refuse_for_nothing(story: Story, chance: random.Random) -> UUID | None:
    append, refusal = chance.choice(refused(story, "WrongExpectedVersion"))
    put(story, append, replace(append, outcome=replace(refusal, mismatches=())))
    return append.call


def refuse_for_a_version_long_passed(story: Story, chance: random.Random) -> UUID | None:
    """The answer of a stale cache: the stream had gone on before the call."""
    append, answer = chance.choice(acknowledged(story))
    event = answer.events[-1][-1]
    stream_id = event.stream_id
    write = SentWrite(stream_id, 1_000, (replace(append.writes[0].events[0], event_id=NEW_EVENT.event_id),))
    stale = Refused("WrongExpectedVersion", (Mismatch(stream_id, 1_000, event.version - len(answer.events[-1])),))
    story.history.append(Append(NEW_CALL, "stale", story.end, story.end, (write,), stale))
    return NEW_CALL


def refuse_for_a_part_of_a_batch(story: Story, chance: random.Random) -> UUID | None:
    """The answer of a store that shows a batch half done."""
    once = {append.call for append in sent_once(story)}
    answers = [pair for pair in acknowledged(story) if pair[0].call in once and len(pair[1].events[0]) > 1]
    if not answers:
        return None
    append, answer = chance.choice(answers)
    first = answer.events[0][0]
    write = SentWrite(first.stream_id, 1_000, (replace(append.writes[0].events[0], event_id=NEW_EVENT.event_id),))
    half = Refused("WrongExpectedVersion", (Mismatch(first.stream_id, 1_000, first.version),))
    story.history.append(Append(NEW_CALL, "hasty", append.start, append.end, (write,), half))
    return NEW_CALL


def refuse_for_ids_that_nobody_sent(story: Story, chance: random.Random) -> UUID | None:
    append = chance.choice([append for append in sent_once(story) if isinstance(append.outcome, Refused)])
    ids = tuple(event.event_id for event in append.writes[0].events)
    put(story, append, replace(append, outcome=Refused("DuplicateEventId", event_ids=ids)))
    return append.call


def refuse_a_repeat(story: Story, chance: random.Random) -> UUID | None:
    append, answer = chance.choice(acknowledged(story))
    ids = tuple(event.event_id for events in answer.events for event in events)
    refusal = Refused("DuplicateEventId", event_ids=ids)
    story.history.append(Append(NEW_CALL, "again", story.end, story.end, append.writes, refusal))
    return NEW_CALL


# --- Real time -------------------------------------------------------------------------------------------------------


def store_below_an_earlier_event_of_the_stream(story: Story, chance: random.Random) -> UUID | None:
    pair = two_of_one_stream(story, chance)
    if pair is None:
        return None
    low, high = pair
    if tries(story, low.event_id)[0].end >= tries(story, high.event_id)[0].start:
        return None
    move(story, low, high.version, high.global_position)
    return move(story, high, low.version, low.global_position)


def store_below_an_earlier_event_of_another_stream(story: Story, chance: random.Random) -> UUID | None:
    pairs = [
        (low, high)
        for high in alone(story)
        for low in story.log
        if low.stream_id != high.stream_id
        and is_last(story, high)
        and acknowledged_before(story, low, tries(story, high.event_id)[0].start)
        and all(
            event.global_position < low.global_position
            for event in story.log
            if event.stream_id == high.stream_id and event is not high
        )
    ]
    pair = choose(chance, pairs)
    return pair and move(story, pair[1], pair[1].version, pair[0].global_position - 1)


# --- Readers ---------------------------------------------------------------------------------------------------------


def hide_an_event(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 2))
    hidden = chance.randrange(len(read.events) - 1)
    return change_read(story, read, *read.events[:hidden], *read.events[hidden + 1 :])


def show_twice(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 1))
    return change_read(story, read, *read.events, read.events[-1])


def show_in_another_order(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 2))
    at = chance.randrange(len(read.events) - 1)
    one, other = read.events[at : at + 2]
    return change_read(story, read, *read.events[:at], other, one, *read.events[at + 2 :])


def show_what_was_passed(story: Story, chance: random.Random) -> UUID | None:
    passed = [read for read in reads(story, 1) if read.after > story.log[0].global_position and read.filter is None]
    read = choose(chance, passed)
    return change_read(story, read, as_stored(story.log[0]), *read.events) if read else None


def show_what_the_filter_leaves_out(story: Story, chance: random.Random) -> UUID | None:
    for read in reads(story, 1):
        for event in story.log:
            if read.filter and not read.filter.matches(event) and read.after < event.global_position < read.bookmark:
                events = sorted([*read.events, as_stored(event)], key=lambda event: event.position)
                return change_read(story, read, *events)
    return None


def show_what_was_rolled_back(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 1))
    ghost = StoredEvent(NEW_EVENT.event_id, "a-1", 1_000, read.bookmark + 1, "")
    return change_read(story, read, *read.events, ghost)


def show_another_payload(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 1))
    return change_read(story, read, replace(read.events[0], digest="other"), *read.events[1:])


def show_another_version(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 1))
    return change_read(story, read, replace(read.events[0], version=1_000), *read.events[1:])


def show_before_it_was_sent(story: Story, chance: random.Random) -> UUID | None:
    read = chance.choice(reads(story, 1))
    put(story, read, replace(read, start=0, end=0))
    return read.call


# --- Checkpoints -----------------------------------------------------------------------------------------------------


def load_what_nobody_saved(story: Story, chance: random.Random) -> UUID | None:
    story.history.append(CheckpointLoad(NEW_CALL, "loader", story.end, story.end, "reader", 1_000))
    return NEW_CALL


def load_before_it_was_saved(story: Story, chance: random.Random) -> UUID | None:
    save = choose(chance, moves(story))
    if save is None:
        return None
    story.history.append(CheckpointLoad(NEW_CALL, "loader", 0, 0, "reader", save.position))
    return NEW_CALL


def load_what_it_was_before(story: Story, chance: random.Random) -> UUID | None:
    save = choose(chance, moves(story))
    if save is None:
        return None
    story.history.append(CheckpointLoad(NEW_CALL, "loader", story.end, story.end, "reader", save.expected))
    return NEW_CALL


def move_from_where_it_was_before(story: Story, chance: random.Random) -> UUID | None:
    save = choose(chance, moves(story))
    if save is None:
        return None
    again = replace(save, call=NEW_CALL, start=story.end, end=story.end)
    story.history.append(again)
    return NEW_CALL


def move_twice(story: Story, chance: random.Random) -> UUID | None:
    save = choose(chance, moves(story))
    if save is None:
        return None
    story.history.append(replace(save, call=NEW_CALL))
    return NEW_CALL


def refuse_from_where_it_is(story: Story, chance: random.Random) -> UUID | None:
    save = CheckpointSave(NEW_CALL, "first", 0, 0, "reader", 0, 1, NotMoved(0))
    story.history.append(save)
    return NEW_CALL


DAMAGES: Final[tuple[tuple[AnomalyKind, Damage], ...]] = (
    (AnomalyKind.POSITIONS_NOT_GROWING, list_the_log_in_another_order),
    (AnomalyKind.VERSIONS_NOT_CONSECUTIVE, leave_a_version_out),
    (AnomalyKind.VERSIONS_NOT_CONSECUTIVE, use_a_version_twice),
    (AnomalyKind.LOG_AGAINST_STREAM, order_the_log_against_a_stream),
    (AnomalyKind.STORED_TWICE, store_twice),
    (AnomalyKind.NEVER_SENT, store_what_nobody_sent),
    (AnomalyKind.LOST, lose_an_acknowledged_event),
    (AnomalyKind.LOST, lose_a_part_of_an_acknowledged_batch),
    (AnomalyKind.STORED_ELSEWHERE, store_at_another_position),
    (AnomalyKind.STORED_ELSEWHERE, store_in_another_stream),
    (AnomalyKind.STORED_ELSEWHERE, answer_with_another_version),
    (AnomalyKind.WRONG_ANSWER, answer_with_another_payload),
    (AnomalyKind.WRONG_ANSWER, answer_for_a_part),
    (AnomalyKind.WRONG_ANSWER, answer_for_one_stream_of_two),
    (AnomalyKind.PAYLOAD_CHANGED, change_the_payload),
    (AnomalyKind.PAYLOAD_CHANGED, change_the_type),
    (AnomalyKind.REFUSED_BUT_STORED, store_what_was_refused),
    (AnomalyKind.STORED_IN_PART, store_a_part),
    (AnomalyKind.STORED_IN_PART, store_one_stream_of_two),
    (AnomalyKind.STORED_IN_PART, store_a_batch_in_two_pieces),
    (AnomalyKind.EXPECTATION_IGNORED, expect_another_version),
    (AnomalyKind.EXPECTATION_IGNORED, expect_no_stream_where_there_is_one),
    (AnomalyKind.EXPECTATION_IGNORED, store_an_unknown_append_where_it_did_not_belong),
    (AnomalyKind.REFUSED_WRONGLY, refuse_for_a_version_never_reached),
    (AnomalyKind.REFUSED_WRONGLY, refuse_for_a_version_long_passed),
    (AnomalyKind.REFUSED_WRONGLY, refuse_for_a_part_of_a_batch),
    (AnomalyKind.REFUSED_WRONGLY, refuse_for_what_meets_the_expectation),
    (AnomalyKind.REFUSED_WRONGLY, refuse_for_nothing),
    (AnomalyKind.REFUSED_WRONGLY, refuse_for_ids_that_nobody_sent),
    (AnomalyKind.REPEAT_REFUSED, refuse_a_repeat),
    (AnomalyKind.STREAM_AGAINST_TIME, store_below_an_earlier_event_of_the_stream),
    (AnomalyKind.LOG_AGAINST_TIME, store_below_an_earlier_event_of_another_stream),
    (AnomalyKind.READ_MISSED, hide_an_event),
    (AnomalyKind.READ_TWICE, show_twice),
    (AnomalyKind.READ_OUT_OF_ORDER, show_in_another_order),
    (AnomalyKind.READ_NOT_ASKED_FOR, show_what_was_passed),
    (AnomalyKind.READ_NOT_ASKED_FOR, show_what_the_filter_leaves_out),
    (AnomalyKind.READ_NOT_STORED, show_what_was_rolled_back),
    (AnomalyKind.READ_CHANGED, show_another_payload),
    (AnomalyKind.READ_CHANGED, show_another_version),
    (AnomalyKind.READ_BEFORE_SENT, show_before_it_was_sent),
    (AnomalyKind.CHECKPOINT_NEVER_SAVED, load_what_nobody_saved),
    (AnomalyKind.CHECKPOINT_NEVER_SAVED, load_before_it_was_saved),
    (AnomalyKind.CHECKPOINT_WENT_BACK, load_what_it_was_before),
    (AnomalyKind.CHECKPOINT_WENT_BACK, move_from_where_it_was_before),
    (AnomalyKind.CHECKPOINT_MOVED_TWICE, move_twice),
    (AnomalyKind.CHECKPOINT_REFUSED_WRONGLY, refuse_from_where_it_is),
)


# --- Places to damage ------------------------------------------------------------------------------------------------


def choose(chance: random.Random, places: Sequence[Place]) -> Place | None:
    return chance.choice(places) if places else None


def appends(story: Story) -> list[Append]:
    return [record for record in story.history if isinstance(record, Append)]


def acknowledged(story: Story) -> list[tuple[Append, Acknowledged]]:
    return [(append, append.outcome) for append in appends(story) if isinstance(append.outcome, Acknowledged)]


def refused(story: Story, error: str) -> list[tuple[Append, Refused]]:
    return [
        (append, append.outcome)
        for append in appends(story)
        if isinstance(append.outcome, Refused) and append.outcome.error == error
    ]


def unknown(story: Story, *, stored: bool) -> list[Append]:
    """Return the appends of unknown outcome that happened, or did not."""
    ids = {event.event_id for event in story.log}
    return [
        append
        for append in sent_once(story)
        if isinstance(append.outcome, Unknown) and (append.writes[0].events[0].event_id in ids) == stored
    ]


def tries(story: Story, event_id: UUID) -> list[Append]:
    return [
        append
        for append in appends(story)
        if any(event.event_id == event_id for write in append.writes for event in write.events)
    ]


def acknowledged_before(story: Story, event: RecordedEvent, instant: int) -> bool:
    return any(
        append.end < instant for append in tries(story, event.event_id) if isinstance(append.outcome, Acknowledged)
    )


def sent_once(story: Story) -> list[Append]:
    """Return the appends of which no event was sent by another."""
    return [
        append
        for append in appends(story)
        if all(len(tries(story, event.event_id)) == 1 for write in append.writes for event in write.events)
    ]


def alone(story: Story) -> list[RecordedEvent]:
    """Return the acknowledged events that were sent once, as the only one of a call, to stand anywhere."""
    ids = {
        append.writes[0].events[0].event_id
        for append in sent_once(story)
        if isinstance(append.outcome, Acknowledged)
        and [write.expected_version for write in append.writes] == [ANY]
        and len(append.writes[0].events) == 1
    }
    return [event for event in story.log if event.event_id in ids]


def is_last(story: Story, event: RecordedEvent) -> bool:
    return all(other.version <= event.version for other in story.log if other.stream_id == event.stream_id)


def last_of_a_stream(story: Story, chance: random.Random) -> RecordedEvent | None:
    return choose(chance, [event for event in alone(story) if is_last(story, event) and event.stream_id != "b-1"])


def two_of_one_stream(story: Story, chance: random.Random) -> tuple[RecordedEvent, RecordedEvent] | None:
    events = alone(story)
    pairs = [(a, b) for a in events for b in events if a.stream_id == b.stream_id and a.version < b.version]
    return choose(chance, pairs)


def reads(story: Story, events: int) -> list[LogRead]:
    """Return the readings that saw at least so many events."""
    return [record for record in story.history if isinstance(record, LogRead) and len(record.events) >= events]


def moves(story: Story) -> list[CheckpointSave]:
    """Return the saves that moved a checkpoint on."""
    saves = [record for record in story.history if isinstance(record, CheckpointSave)]
    return [save for save in saves if isinstance(save.outcome, Moved) and save.position > save.expected]


# --- Changes ---------------------------------------------------------------------------------------------------------


def put(story: Story, old: Record, new: Record) -> None:
    story.history[story.history.index(old)] = new


def forget_reads(story: Story) -> None:
    story.history[:] = [record for record in story.history if not isinstance(record, LogRead)]


def change_log(story: Story, event_id: UUID, **changes: object) -> RecordedEvent:
    """Change an event in the log only."""
    (at,) = [at for at, event in enumerate(story.log) if event.event_id == event_id]
    changed = story.log[at] = replace(story.log[at], **changes)
    story.log.sort(key=lambda event: event.global_position)
    return changed


def move(story: Story, event: RecordedEvent, version: int, position: int) -> UUID:
    """Store an event that is alone elsewhere, and tell its sender so; nobody read it."""
    forget_reads(story)
    moved = change_log(story, event.event_id, version=version, global_position=position)
    (append,) = tries(story, event.event_id)
    change_answer(story, append, [as_stored(moved)])
    return event.event_id


def add_to_log(story: Story, stream_id: str, event: NewEvent) -> None:
    version = max((event.version for event in story.log if event.stream_id == stream_id), default=0) + 1
    story.log.append(recorded_at(stream_id, version, story.log[-1].global_position + 1, event))


def change_answer(story: Story, append: Append, *events: Sequence[StoredEvent]) -> UUID:
    put(story, append, replace(append, outcome=Acknowledged(tuple(map(tuple, events)))))
    return append.call


def change_read(story: Story, read: LogRead, *events: StoredEvent) -> UUID:
    put(story, read, replace(read, events=events))
    return read.call


def expect(story: Story, append: Append, expected: ExpectedVersion) -> UUID:
    """Let all tries of an append have expected another version."""
    first, *others = append.writes
    for other in tries(story, first.events[0].event_id):
        if other.writes == append.writes:
            put(story, other, replace(other, writes=(replace(first, expected_version=expected), *others)))
    return first.events[0].event_id


def refuse(story: Story, chance: random.Random, change: Callable[[Mismatch], Mismatch]) -> UUID:
    """Let an append be refused for another reason."""
    append, refusal = chance.choice(refused(story, "WrongExpectedVersion"))
    (first, *others) = refusal.mismatches
    changed = change(first)
    writes = tuple(
        replace(write, expected_version=changed.expected) if write.stream_id == first.stream_id else write
        for write in append.writes
    )
    put(story, append, replace(append, writes=writes, outcome=replace(refusal, mismatches=(changed, *others))))
    return append.call

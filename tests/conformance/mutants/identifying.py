"""Mutants that take a batch for another: what an engine gets wrong that recognises what is sent again by itself."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

from msgspec.structs import replace

from eventstore import NO_STREAM, RecordedEvent
from eventstore.backend import Appended, AppendedStream, Conflict, Outcome, StreamAppend, Transaction
from eventstore.events import canonical_json, decode_json
from eventstore_memory.state import State, utc_now
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState

Stored: TypeAlias = dict[UUID, RecordedEvent]
"""The events in the store that have one of the ids of a transaction."""


class Recognising(CarelessState):
    """An engine that answers what it takes for the same batch with the places of its events."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended) or any(state.deleted for state in outcome.streams):
            return outcome
        stored = {event.event_id: event for event in outcome.stored}
        places = [self.places(append, stored) for append in transaction]
        if any(place is None for place in places):
            return outcome
        return Appended(tuple(place for place in places if place))

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        """Return where a batch is stored, None if it is not."""
        raise NotImplementedError


def same_batch(append: StreamAppend, stored: Stored) -> list[RecordedEvent]:
    """Return the events of a batch that is stored in one piece and in order in its stream; none otherwise."""
    found = [stored[event.event_id] for event in append.events if event.event_id in stored]
    in_place = [event.version - number for number, event in enumerate(found)]
    whole = len(found) == len(append.events) and {event.stream_id for event in found} == {append.stream_id}
    return found if whole and len(set(in_place)) == 1 else []


def placed(found: list[RecordedEvent]) -> AppendedStream:
    """Return where events stand."""
    return AppendedStream(found[0].version, tuple(event.global_position for event in found), found[0].created_at)


# --- What counts as the same batch -----------------------------------------------------------------------------------


@caught_by("APPEND-13")
class KnowsABatchByItsFirstId(Recognising):
    """Looks the first id up and takes the rest for granted: a batch that has grown is lost."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        first = stored.get(append.events[0].event_id)
        if first is None or first.stream_id != append.stream_id:
            return None
        positions = tuple(range(first.global_position, first.global_position + len(append.events)))
        return AppendedStream(first.version, positions, first.created_at)


@caught_by("APPEND-13")
class KnowsABatchByItsLastId(Recognising):
    """Looks the last id up, for a batch is stored wholly or not at all."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        last = stored.get(append.events[-1].event_id)
        if last is None or last.stream_id != append.stream_id:
            return None
        first = last.global_position - len(append.events) + 1
        positions = tuple(range(first, last.global_position + 1))
        return AppendedStream(max(1, last.version - len(append.events) + 1), positions, last.created_at)


@caught_by("APPEND-13")
class KnowsABatchByItsSetOfIds(Recognising):
    """Counts how many of the ids are stored, in whatever order."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = [stored[event.event_id] for event in append.events if event.event_id in stored]
        whole = len(found) == len(append.events) and {event.stream_id for event in found} == {append.stream_id}
        return placed(found) if whole else None


@caught_by("APPEND-14", "MANY-07")
class KnowsABatchInAnyStream(Recognising):
    """Has one table of ids for all streams: an event sent to the wrong one is reported as stored."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = [stored[event.event_id] for event in append.events if event.event_id in stored]
        in_place = {event.version - number for number, event in enumerate(found)}
        return placed(found) if len(found) == len(append.events) and len(in_place) == 1 else None


@caught_by("APPEND-16")
class KnowsABatchWhateverItSays(Recognising):
    """Compares ids only: a corrected event sent under the old id is reported as stored, and lost."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = same_batch(append, stored)
        expected = 0 if append.expected_version is NO_STREAM else append.expected_version
        if not found or (isinstance(expected, int) and expected + 1 != found[0].version):
            return None
        return placed(found)


@caught_by("APPEND-15")
class KnowsABatchAnywhereInItsStream(Recognising):
    """Does not ask whether the batch stands right after the version expected."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = same_batch(append, stored)
        return placed(found) if found and same_content(append, found) else None


@caught_by("APPEND-08")
class AnswersWithTheHead(Recognising):
    """Answers a batch sent again with the head of the log instead of the positions that it was given."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = same_batch(append, stored)
        if not found or not same_content(append, found):
            return None
        return AppendedStream(found[0].version, (self.head,) * len(found), found[0].created_at)


@caught_by("APPEND-08")
class AnswersWithTheTimeOfTheRepetition(Recognising):
    """Answers a batch sent again with the time of the second call."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = same_batch(append, stored)
        return replace(placed(found), created_at=utc_now()) if found and same_content(append, found) else None


def same_content(append: StreamAppend, found: list[RecordedEvent]) -> bool:
    """Tell whether events have the types and payloads of those that are stored."""
    return all(
        event.event_type == before.event_type
        and canonical_json(decode_json(event.data)) == canonical_json(before.data)
        and canonical_json(decode_json(event.metadata)) == canonical_json(before.metadata)
        for event, before in zip(append.events, found, strict=True)
    )


# --- What is remembered ----------------------------------------------------------------------------------------------


@caught_by("APPEND-08", "APPEND-14")
class ForgetsIds(CarelessState):
    """Has no unique index on ids: what is sent again is stored again."""

    def append(self, transaction: Transaction) -> Outcome:
        known, self._by_id = self._by_id, {}
        outcome = super().append(transaction)
        self._by_id = known | self._by_id
        return outcome


@caught_by("APPEND-08", "APPEND-10")
class RemembersTheLastIdsOnly(CarelessState):
    """Keeps ids for a while only, here for one append: a retry that comes later is stored again."""

    def append(self, transaction: Transaction) -> Outcome:
        known = self._by_id
        last = self.__dict__.setdefault("last", set())
        self._by_id = {event_id: event for event_id, event in known.items() if event_id in last}
        outcome = super().append(transaction)
        last.clear()
        last.update(event.event_id for append in transaction for event in append.events)
        self._by_id = known | self._by_id
        return outcome


@caught_by("APPEND-11")
class LooksUpAThousandIds(CarelessState):
    """Asks for known ids by a query whose parameters are limited, and cuts the list."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        return replace(outcome, stored=outcome.stored[:1_000]) if isinstance(outcome, Conflict) else outcome


@caught_by("APPEND-12")
class ComparesPayloadsAsText(CarelessState):
    """Compares a hash of the JSON text: keys in another order are another payload."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended):
            return outcome
        sent = {event.event_id: (event.data, event.metadata) for append in transaction for event in append.events}
        stored = [
            event if sent[event.event_id] == self._texts(event.event_id) else replace(event, data={"other": "text"})
            for event in outcome.stored
        ]
        return replace(outcome, stored=tuple(stored))

    def _texts(self, event_id: UUID) -> tuple[bytes, bytes]:
        event = self._by_id[event_id].event
        return event.data, event.metadata


@caught_by("APPEND-20")
class KnowsABatchOfADeletedStream(CarelessState):
    """Looks ids up before it looks for a tombstone: the retry of an append to a deleted stream succeeds."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended) or not outcome.stored:
            return outcome
        return replace(outcome, streams=tuple(replace(state, deleted=False) for state in outcome.streams))


@caught_by("TRUNCATE-08")
class RemembersIdsOfRemovedEvents(CarelessState):
    """Leaves the ids of truncated events in a table of duplicates: the retry is reported as stored."""

    def append(self, transaction: Transaction) -> Outcome:
        gone: Stored = self.__dict__.setdefault("gone", {})
        outcome = super().append(transaction)
        if isinstance(outcome, Appended):
            gone |= {event_id: event.decoded() for event_id, event in self._by_id.items()}
            return outcome
        ids = [event.event_id for append in transaction for event in append.events]
        return replace(outcome, stored=tuple(gone[event_id] for event_id in ids if event_id in gone))


@caught_by("TRUNCATE-07")
class KnowsABatchByWhatIsLeftOfIt(Recognising):
    """Takes a batch whose first events were truncated for the whole one."""

    def places(self, append: StreamAppend, stored: Stored) -> AppendedStream | None:
        found = [stored[event.event_id] for event in append.events if event.event_id in stored]
        truncated = len(append.events) - len(found)
        if not found or found[0].stream_id != append.stream_id or truncated != found[0].version - 1 or not truncated:
            return None
        return AppendedStream(1, (0,) * truncated + placed(found).positions, found[0].created_at)


# --- Several streams -------------------------------------------------------------------------------------------------


@caught_by("MANY-05")
class KnowsWritesByTheOrderTheyCameIn(CarelessState):
    """Keys a transaction by its first event: the same writes in another order are another transaction."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended) or len(transaction) == 1 or not outcome.stored:
            return outcome
        first = min(outcome.stored, key=lambda event: event.global_position)
        known = first.event_id == transaction[0].events[0].event_id
        return outcome if known else replace(outcome, stored=outcome.stored[:1])


@caught_by("MANY-06")
class ResumesTransactions(CarelessState):
    """Skips the streams that are stored already and appends to the others: half a transaction is made whole."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended):
            return outcome
        stored = {event.event_id: event for event in outcome.stored}
        done = {it.stream_id: same_batch(it, stored) for it in transaction}
        rest = [append for append in transaction if not done[append.stream_id]]
        if not rest or len(rest) == len(transaction):
            return outcome
        appended = State.append(self, rest)
        if isinstance(appended, Conflict):
            return outcome
        new = iter(appended.streams)
        return Appended(tuple(placed(done[it.stream_id]) if done[it.stream_id] else next(new) for it in transaction))

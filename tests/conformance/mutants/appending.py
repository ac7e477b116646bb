"""Mutants that append what they should refuse, or not what they were given."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import UUID

from msgspec.structs import replace

from eventstore import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion, RecordedEvent
from eventstore.backend import Appended, AppendedStream, Conflict, Outcome, StreamAppend, Transaction
from eventstore.versions import is_met, version_range
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State, utc_now
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState, expecting, with_events

# --- Expectations ----------------------------------------------------------------------------------------------------


@caught_by("APPEND-02")
class ForgetsExactVersions(CarelessState):
    """Knows the constants, but takes every exact version for `ANY`: updates are lost."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(
            expecting(transaction, lambda it: ANY if isinstance(it.expected_version, int) else it.expected_version)
        )


@caught_by("APPEND-02", "RACE-01")
class ForgetsNoStream(CarelessState):
    """Takes `NO_STREAM` for `ANY`: two users register the same name."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(
            expecting(transaction, lambda it: ANY if it.expected_version is NO_STREAM else it.expected_version)
        )


@caught_by("APPEND-02")
class ForgetsStreamExists(CarelessState):
    """Takes `STREAM_EXISTS` for `ANY`: a misspelt id makes a stream of its own."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(
            expecting(transaction, lambda it: ANY if it.expected_version is STREAM_EXISTS else it.expected_version)
        )


@caught_by("APPEND-02")
class TakesAVersionForTheLowest(CarelessState):
    """Accepts every stream that has at least the version expected (`>=` where `=` was meant)."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(expecting(transaction, self._at_least))

    def _at_least(self, append: StreamAppend) -> ExpectedVersion:
        expected = append.expected_version
        reached = isinstance(expected, int) and self._state_of(append.stream_id).version >= expected
        return ANY if reached else expected


@caught_by("APPEND-02")
class AcceptsVersionsAhead(CarelessState):
    """Refuses only what is out of date: a version that the stream has not reached is let in."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(expecting(transaction, self._at_most))

    def _at_most(self, append: StreamAppend) -> ExpectedVersion:
        expected = append.expected_version
        ahead = isinstance(expected, int) and self._state_of(append.stream_id).version < expected
        return ANY if ahead else expected


@caught_by("MANY-04")
class ReportsOneMismatch(CarelessState):
    """Stops at the first stream that fails its expectation: the caller learns of the others one by one."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended):
            return outcome
        states, failed = [], False
        for append, state in zip(transaction, outcome.streams, strict=True):
            met = is_met(append.expected_version, state.version)
            states.append(state if met or not failed else replace(state, version=_met_at(append)))
            failed |= not met
        return Conflict(tuple(states), outcome.stored)


@caught_by("RACE-01", "APPEND-02")
class ReportsTheVersionOfAnother(CarelessState):
    """Reports as the actual version the one that the refused append would have made."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Appended) or outcome.stored:
            return outcome
        states = [
            state
            if is_met(append.expected_version, state.version)
            or is_met(append.expected_version, state.version + len(append.events))
            else replace(state, version=state.version + len(append.events))
            for append, state in zip(transaction, outcome.streams, strict=True)
        ]
        return Conflict(tuple(states), ())


def _met_at(append: StreamAppend) -> int:
    return version_range(append.expected_version)[0]


# --- All or nothing --------------------------------------------------------------------------------------------------


@caught_by("APPEND-13")
class SkipsKnownIds(CarelessState):
    """`ON CONFLICT DO NOTHING`: what could not be inserted is reported as done, and lost."""

    def append(self, transaction: Transaction) -> Outcome:
        fresh = [
            replace(append, events=tuple(event for event in append.events if event.event_id not in self._by_id))
            for append in transaction
        ]
        if fresh == list(transaction) or isinstance(super().append([it for it in fresh if it.events]), Conflict):
            return super().append(transaction)
        return Appended(
            tuple(
                AppendedStream(self._state_of(it.stream_id).version, (self.head,) * len(it.events), utc_now())
                for it in transaction
            )
        )


@caught_by("APPEND-13")
class StoresABatchUpToItsError(CarelessState):
    """Inserts a batch event by event, each on its own: an error in the middle leaves the first half."""

    def append(self, transaction: Transaction) -> Outcome:
        if len(transaction) > 1 or isinstance(super().append(self._first_of(transaction)), Conflict):
            return super().append(transaction)
        (append,) = transaction
        for event in append.events[1:]:
            if isinstance(super().append([replace(append, expected_version=ANY, events=(event,))]), Conflict):
                return super().append(transaction)
        stored = self._streams[append.stream_id].events[-len(append.events) :]
        positions = tuple(event.position for event in stored)
        return Appended((AppendedStream(stored[0].version, positions, stored[0].created_at),))

    def _first_of(self, transaction: Transaction) -> Transaction:
        return [replace(append, events=append.events[:1]) for append in transaction]


@caught_by("MANY-03", "MANY-08")
class AppendsStreamByStream(CarelessState):
    """`append_many` without a transaction around it: the streams before the one that fails keep their events."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = State.append(self.copy(), transaction)
        if isinstance(outcome, Appended):
            return super().append(transaction)
        for append in transaction:
            super().append([append])
        return outcome


@caught_by("APPEND-03")
class KeepsAThousandOfABatch(CarelessState):
    """Sends a batch in one statement whose parameters are limited, and drops the rest without a word."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append([replace(append, events=append.events[:1_000]) for append in transaction])
        if isinstance(outcome, Conflict):
            return outcome
        streams = [
            replace(placed, positions=placed.positions + (self.head,) * (len(append.events) - len(placed.positions)))
            for append, placed in zip(transaction, outcome.streams, strict=True)
        ]
        return Appended(tuple(streams))


@caught_by("APPEND-03")
class StoresABatchInTheOrderOfItsIds(CarelessState):
    """Inserts what a set or an index gave back: the events of a batch change places."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(
            [
                replace(it, events=tuple(sorted(it.events, key=lambda event: event.event_id.int % 97)))
                for it in transaction
            ]
        )


@caught_by("MANY-01")
class ReturnsStreamsInTheOrderOfTheirIds(CarelessState):
    """Sorts the streams against deadlocks, and answers in that order instead of the caller's."""

    def append(self, transaction: Transaction) -> Outcome:
        ordered = sorted(transaction, key=lambda append: append.stream_id)
        outcome = super().append(ordered)
        return outcome if isinstance(outcome, Appended) else super().append(transaction)


# --- What a refused append leaves ------------------------------------------------------------------------------------


@caught_by("APPEND-18")
class BurnsTheIdsOfRefusedAppends(CarelessState):
    """Writes the ids into its table of duplicates before it checks the version: the retry is a duplicate."""

    def append(self, transaction: Transaction) -> Outcome:
        burnt: set[UUID] = self.__dict__.setdefault("burnt", set())
        again = [event.event_id for append in transaction for event in append.events if event.event_id in burnt]
        if again:
            states = tuple(self._state_of(append.stream_id) for append in transaction)
            return Conflict(states, tuple(map(_elsewhere, again)))
        outcome = super().append(transaction)
        if isinstance(outcome, Conflict) and not outcome.stored:
            burnt.update(event.event_id for append in transaction for event in append.events)
        return outcome


def _elsewhere(event_id: UUID) -> RecordedEvent:
    return RecordedEvent("burnt", "burnt", 1, 1, event_id, "Burnt", {}, {}, utc_now())


@caught_by("LIST-12")
class MakesAStreamOfARefusedAppend(CarelessState):
    """Inserts the stream's row first and leaves it there when the append is refused."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        for append in transaction:
            self._stream_to_write(append.stream_id)
        return outcome


@caught_by("APPEND-18", "RACE-04")
class BurnsVersionsOfRefusedAppends(CarelessState):
    """Draws the version from a counter before it checks: a refused append leaves a gap in its stream."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Conflict) and not outcome.stored:
            for append in transaction:
                stream = self._streams.get(append.stream_id)
                if stream and not stream.deleted:
                    stream.version += 1
        return outcome


@caught_by("APPEND-07")
class CountsVersionsByType(CarelessState):
    """Keeps the counter of versions under the stream's type."""

    def append(self, transaction: Transaction) -> Outcome:
        for append in transaction:
            if append.expected_version is ANY:
                stream = self._stream_to_write(append.stream_id)
                same_type = [it.version for it in self._streams.values() if it.info().stream_type == append.stream_type]
                stream.version = max(same_type)
        return super().append(transaction)


# --- Records and times -----------------------------------------------------------------------------------------------


@caught_by("APPEND-04")
class LosesMetadata(CarelessState):
    """Has no column for metadata."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(with_events(transaction, lambda event: replace(event, metadata=b"{}")))


@caught_by("APPEND-04")
class ReturnsTimesOfItsOwn(CarelessState):
    """Returns the client's time and stores the server's."""

    def append(self, transaction: Transaction) -> Outcome:
        outcome = super().append(transaction)
        if isinstance(outcome, Conflict):
            return outcome
        tick = timedelta(microseconds=1)
        return Appended(tuple(replace(placed, created_at=placed.created_at + tick) for placed in outcome.streams))


@caught_by("APPEND-05", "SNAPSHOT-01")
class KeepsLocalTime(MemoryBackend):
    """Keeps the time of the server's own zone, with its offset."""

    def __init__(self) -> None:
        super().__init__(lambda: datetime.now(timezone(timedelta(hours=9))))


@caught_by("APPEND-05", "SNAPSHOT-01")
class TakesLocalTimeForUtc(MemoryBackend):
    """Keeps the time of the server's own zone in a column without a zone, and reads it as UTC."""

    def __init__(self) -> None:
        super().__init__(lambda: utc_now() + timedelta(hours=9))


@caught_by("APPEND-06")
class FollowsAClockThatGoesBack(CarelessState):
    """Stores what the clock says, which a time server has just put back."""

    def append(self, transaction: Transaction) -> Outcome:
        back = self.head
        self._clock = lambda: utc_now() - timedelta(milliseconds=back)
        for stream in self._streams.values():
            stream.last_created_at = utc_now() - timedelta(days=1)
        return super().append(transaction)

"""Mutants that gather concurrent appends as a group commit does, and mix up what belongs to whom."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from eventstore import EventStore, StoreUnavailable
from eventstore.backend import Backend, Conflict, Deferred, Outcome, Transaction
from eventstore.group_commit import MAX_EVENTS, GroupCommit, _Member
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import DistantMemory


class Gathering(EventStore):
    """A store over it that gathers as its class says."""

    gathers: ClassVar[type[GroupCommit]]

    def __init__(self, backend: Backend, **options: Any) -> None:
        distant = DistantMemory()
        super().__init__(distant, **options)
        self._group_commit = self.gathers(distant.append, 2)


class _SharedFate(GroupCommit):
    async def _write(self, members: list[_Member]) -> None:
        outcomes = await self._append([member.transaction for member in members])
        conflict = next((outcome for outcome in outcomes if isinstance(outcome, Conflict)), None)
        for member, outcome in zip(members, outcomes, strict=True):
            member.succeed(conflict or outcome)


@caught_by("GROUP-01", "GROUP-04", "RACE-08")
class FailsTheWholeGroup(Gathering):
    """Writes a group as one transaction: the conflict of one is the answer to all."""

    gathers = _SharedFate


class _ConflictsLast(GroupCommit):
    async def _write(self, members: list[_Member]) -> None:
        outcomes = await self._append([member.transaction for member in members])
        for member, outcome in zip(members, sorted(outcomes, key=_is_conflict), strict=True):
            member.succeed(outcome)


def _is_conflict(outcome: Outcome | Deferred) -> bool:
    return isinstance(outcome, Conflict)


@caught_by("GROUP-01", "RACE-08")
class AnswersInTheOrderOfTheRows(Gathering):
    """Takes the rows that were inserted for the first callers of the group, whoever it was that was refused."""

    gathers = _ConflictsLast


class _OneOfAStream(GroupCommit):
    async def _write(self, members: list[_Member]) -> None:
        by_stream = {member.transaction[0].stream_id: member for member in members}
        chosen = list(by_stream.values())
        outcomes = await self._append([member.transaction for member in chosen])
        answers = dict(zip(by_stream, outcomes, strict=True))
        for member in members:
            member.succeed(answers[member.transaction[0].stream_id])


@caught_by("GROUP-02")
class KeepsOneOfAStream(Gathering):
    """Keys its group by the stream: of two appends to one stream the later is written, and both are told so."""

    gathers = _OneOfAStream


class _Apart(GroupCommit):
    async def append(self, transaction: Transaction) -> Outcome | Deferred:
        if len(transaction) == 1:
            return await super().append(transaction)
        outcomes = await self._append([[append] for append in transaction])
        conflicts = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
        if conflicts:
            states = tuple(self._state(append, conflicts) for append in transaction)
            return Conflict(states, ())
        return await self._told(transaction)

    def _state(self, append: Any, conflicts: list[Conflict]) -> Any:
        found = [state for conflict in conflicts for state in conflict.streams if state.stream_id == append.stream_id]
        return found[0] if found else conflicts[0].streams[0]

    async def _told(self, transaction: Transaction) -> Outcome | Deferred:
        return (await self._append([transaction]))[0]


@caught_by("GROUP-03")
class TakesTransactionsApart(Gathering):
    """Puts the streams of an `append_many` into its group one by one: some are written, others refused."""

    gathers = _Apart


class _Unforgiving(GroupCommit):
    async def append(self, transaction: Transaction) -> Outcome | Deferred:
        if self._under_way == 0 and not self._line:
            return await super().append(transaction)
        member = _Member(transaction)
        self._line.append(member)
        self._go_on()
        try:
            return await member.outcome
        except asyncio.CancelledError:
            if member.group is not None:
                member.group.task.cancel()
            raise


@caught_by("GROUP-05", "RACE-11")
class PassesTheCancellationOn(Gathering):
    """Passes the cancellation of one caller on to the call that writes for all."""

    gathers = _Unforgiving


class _NothingWithdrawn(GroupCommit):
    async def append(self, transaction: Transaction) -> Outcome | Deferred:
        return await asyncio.shield(asyncio.ensure_future(super().append(transaction)))


@caught_by("GROUP-05")
class WritesWhatWasCancelled(Gathering):
    """Shields the append from its caller's cancellation: it happens some time after that has been told."""

    gathers = _NothingWithdrawn


class _Uncounted(GroupCommit):
    async def append(self, transaction: Transaction) -> Outcome | Deferred:
        if not self._line and self._under_way < 2:
            self._under_way += 1
            outcome = await self._alone(transaction)
            self._end_call(0)
            return outcome
        return await super().append(transaction)


@caught_by("GROUP-06")
class CountsTheCancelledForEver(Gathering):
    """Takes a cancelled call as still under way: after two of them nobody is written any more."""

    gathers = _Uncounted


class _FullGroups(GroupCommit):
    async def append(self, transaction: Transaction) -> Outcome | Deferred:
        if len(self._line) >= MAX_EVENTS:
            raise StoreUnavailable("the group is full")
        return await super().append(transaction)


@caught_by("GROUP-07")
class RefusesWhoDoesNotFit(Gathering):
    """Bounds its line by one group, and sends the others away."""

    gathers = _FullGroups


class _Careless(GroupCommit):
    async def close(self) -> None:
        self._is_closed = True
        self._line.clear()


@caught_by("GROUP-09")
class ForgetsTheLineWhenClosed(Gathering):
    """Clears its line when it is closed: those in it wait for ever."""

    gathers = _Careless

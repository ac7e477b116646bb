"""Group commit: appends that come while others are being written go together, in one call and one commit.

An append that finds the backend idle goes at once. What comes meanwhile waits in line, and all of it is written in one
call as soon as a call under way has ended: the busier the store, the larger its groups. The idea is as old as commits
are dear: DeWitt and others, "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from copy import copy
from functools import partial
from typing import Any, Final, TypeAlias

from eventstore.backend import Deferred, Outcome, Transaction
from eventstore.cancellation import uninterrupted
from eventstore.errors import EventStoreError, StoreNotOpen, StoreUnavailable

MAX_EVENTS: Final = 128
"""How many events a group has at most, unless one transaction alone has more."""

MAX_BYTES: Final = 1024 * 1024
"""How many bytes of JSON text a group has at most, unless one transaction alone has more."""

_PATIENCE: Final = 0.1
"""Seconds for which others wait in line behind a transaction that is written by itself.

It may wait for somebody else's transaction, for as long as that takes; a backend defers only those that are in company.
"""

_PATIENCE_AT_CLOSE: Final = 5.0

Append: TypeAlias = Callable[[Sequence[Transaction]], Awaitable[Sequence[Outcome | Deferred]]]


class GroupCommit:
    """Gathers the concurrent appends of one store; for one event loop."""

    def __init__(self, append: Append, calls: int) -> None:
        """`append` is that of a backend with `Capability.GROUP_COMMIT`; so many `calls` of it are made at a time."""
        self._append = append
        self._calls = calls
        self._line: deque[_Member] = deque()
        self._under_way = 0
        self._written = 0
        # The streams of transactions that are written apart: whoever waits for them would hold up a group.
        self._apart: Counter[str] = Counter()
        self._groups: set[_Group] = set()
        self._by_themselves: set[_ByItself] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def append(self, transaction: Transaction) -> Outcome | Deferred:
        """Store a transaction, or say why not, as the backend's `append` does.

        Those of a group fail each on their own. Cancelled while it waits in line, the append is withdrawn, and nothing
        is stored; cancelled while its group is written, it ends with the group. Raises `StoreNotOpen` once closed, and
        what the backend raises.
        """
        if self._is_closed:
            raise StoreNotOpen("the store", closed=True)
        if self._goes_apart(transaction):
            return await self._alone(transaction)
        if not self._line and self._under_way < self._calls:
            by_itself = self._begin_by_itself(transaction)
            try:
                return await self._alone(transaction)
            finally:
                self._end_by_itself(by_itself)
        member = _Member(transaction)
        self._line.append(member)
        self._look_after_line()
        try:
            return await member.outcome
        except asyncio.CancelledError:
            if member.group is not None:
                await uninterrupted(member.group.left())
            raise

    async def close(self) -> None:
        """Refuse those in line with `StoreNotOpen`, and wait for what is being written; completes when cancelled."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._line:
            self._line.popleft().fail(StoreNotOpen("the store", closed=True))
        await uninterrupted(self._ended())

    async def _ended(self) -> None:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_AT_CLOSE
        while tasks := {group.task for group in self._groups}:
            _, late = await asyncio.wait(tasks, timeout=max(0, deadline - asyncio.get_running_loop().time()))
            for task in late:
                task.cancel()

    # --- Writing -------------------------------------------------------------------------------------------------

    async def _alone(self, transaction: Transaction) -> Outcome | Deferred:
        (outcome,) = await self._append([transaction])
        return outcome

    def _go_on(self) -> None:
        while self._line and self._under_way < self._calls:
            members = self._next_members()
            if len(members) == 1:
                by_itself = self._begin_by_itself(members[0].transaction)
                self._start(_Group(members, self._write(members)), partial(self._end_group_of_one, by_itself))
            elif members:
                self._under_way += 1
                self._written += len(members)
                self._start(_Group(members, self._write(members)), self._end_group)
        self._look_after_line()

    def _next_members(self) -> list[_Member]:
        """Take from the head of the line what fits into a group."""
        members: list[_Member] = []
        events = size = 0
        # A fair share for each call: who took all would leave the other one next to nobody to write, for ever.
        share = -(-(len(self._line) + self._written) // self._calls)
        while self._line and len(members) < share:
            member = self._line[0]
            if members and (events + member.events > MAX_EVENTS or size + member.size > MAX_BYTES):
                break
            self._line.popleft()
            if member.outcome.done():
                continue  # it was cancelled
            if self._goes_apart(member.transaction):
                self._write_apart(member)
                continue
            members.append(member)
            events += member.events
            size += member.size
        return members

    async def _write(self, members: list[_Member]) -> None:
        try:
            outcomes = await self._append([member.transaction for member in members])
        except StoreUnavailable as error:
            for member in members:
                # One for each: a traceback grows with everybody who raises it.
                failure = copy(error)
                failure.__cause__ = error
                member.fail(failure)
        except EventStoreError:
            # Whose fault it was turns out when each goes alone; what is stored by now is found by its ids.
            for member in members:
                self._write_apart(member)
        else:
            for member, outcome in zip(members, outcomes, strict=True):
                if isinstance(outcome, Deferred):
                    self._write_apart(member)
                else:
                    member.succeed(outcome)

    def _end_group(self, group: _Group) -> None:
        self._end_call(len(group.members))

    def _end_group_of_one(self, by_itself: _ByItself, group: _Group) -> None:
        self._end_by_itself(by_itself)

    def _end_call(self, members: int) -> None:
        """Note that a call to the backend has ended; those in line go on."""
        self._under_way -= 1
        self._written -= members
        self._go_on()

    # --- By itself -----------------------------------------------------------------------------------------------

    def _begin_by_itself(self, transaction: Transaction) -> _ByItself:
        self._under_way += 1
        self._written += 1
        by_itself = _ByItself(transaction)
        self._by_themselves.add(by_itself)
        return by_itself

    def _end_by_itself(self, by_itself: _ByItself) -> None:
        self._by_themselves.remove(by_itself)
        if by_itself.is_apart:
            self._apart -= Counter(_stream_ids(by_itself.transaction))
        else:
            self._end_call(1)

    def _look_after_line(self) -> None:
        if self._line and self._timer is None and self._by_themselves and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._pass_who_is_late)

    def _pass_who_is_late(self) -> None:
        """Let those in line go past transactions that take too long; these go on apart from them."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for by_itself in self._by_themselves:
            if not by_itself.is_apart and now - by_itself.since >= _PATIENCE:
                by_itself.is_apart = True
                self._apart.update(_stream_ids(by_itself.transaction))
                self._under_way -= 1
                self._written -= 1
        self._go_on()

    # --- Apart ---------------------------------------------------------------------------------------------------

    def _goes_apart(self, transaction: Transaction) -> bool:
        return bool(self._apart) and any(append.stream_id in self._apart for append in transaction)

    def _write_apart(self, member: _Member) -> None:
        if not member.outcome.done():
            self._apart.update(_stream_ids(member.transaction))
            self._start(_Group([member], self._write_one(member)), self._end_apart)

    async def _write_one(self, member: _Member) -> None:
        try:
            member.succeed(await self._alone(member.transaction))
        except EventStoreError as error:
            member.fail(error)

    def _end_apart(self, group: _Group) -> None:
        self._apart -= Counter(_stream_ids(group.members[0].transaction))

    def _start(self, group: _Group, at_end: Callable[[_Group], None]) -> None:
        self._groups.add(group)

        def end(task: asyncio.Task[None]) -> None:
            # Here and not in the task: one that is cancelled before its first step never takes it.
            self._groups.discard(group)
            group.settle(task)
            at_end(group)

        group.task.add_done_callback(end)


def _stream_ids(transaction: Transaction) -> set[str]:
    return {append.stream_id for append in transaction}


class _ByItself:
    """A transaction that is written by a call of its own; `is_apart` once others need not wait for the call."""

    __slots__ = ("is_apart", "since", "transaction")

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.since = asyncio.get_running_loop().time()
        self.is_apart = False


class _Member:
    """A transaction in line, or in a group."""

    __slots__ = ("events", "group", "outcome", "size", "transaction")

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.outcome: asyncio.Future[Outcome | Deferred] = asyncio.get_running_loop().create_future()
        self.group: _Group | None = None
        events = [event for append in transaction for event in append.events]
        self.events = len(events)
        self.size = sum(len(event.data) + len(event.metadata) for event in events)

    def succeed(self, outcome: Outcome | Deferred) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class _Group:
    """Members that are written by one call, and the task that makes it."""

    def __init__(self, members: list[_Member], work: Coroutine[Any, Any, None]) -> None:
        self.members = members
        # In a context of its own: what its first member's caller is in the midst of is none of the others'.
        self.task = asyncio.create_task(work, name="eventstore group commit", context=Context())
        for member in members:
            member.group = self

    async def left(self) -> None:
        """Return when the call has ended; if all the members have been cancelled, it is, too."""
        if all(member.outcome.cancelled() for member in self.members):
            self.task.cancel()
        await asyncio.wait([self.task])

    def settle(self, task: asyncio.Task[None]) -> None:
        """Answer the members that the call has left without an answer."""
        if task.cancelled():
            failure: BaseException = StoreUnavailable(
                "the store was closed before the database had answered", outcome_unknown=True
            )
        else:
            failure = task.exception() or AssertionError("a member of a group got no answer")
        for member in self.members:
            if member.group is self:
                member.fail(failure)

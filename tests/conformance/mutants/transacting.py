"""Mutants whose transactions keep what they roll back, show what they have not committed, or go on after their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from eventstore import EventStore, EventStoreError, StoreTransaction
from eventstore.backend import Conflict, Outcome, Transaction
from eventstore_memory import MemoryBackend
from eventstore_memory.backend import MemoryTransaction
from eventstore_memory.state import State
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState


@caught_by("TX-01", "TX-06", "TX-09")
class NeverCommits(MemoryBackend):
    """Forgets the commit: what was done is gone with the connection."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writing:
            yield MemoryTransaction(self._state.copy())


@caught_by("TX-02", "TX-03", "TX-08", "TX-13")
class CommitsEachCall(MemoryBackend):
    """Runs each call of a transaction on its own (autocommit): there is nothing to roll back."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writing:
            yield MemoryTransaction(self._state)


@caught_by("TX-02", "TX-03", "TX-13", "GROUP-08")
class CommitsInAnyCase(MemoryBackend):
    """Commits in a `finally`: what failed half-way is kept."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writing:
            copy = self._state.copy()
            try:
                yield MemoryTransaction(copy)
            finally:
                self._state = copy


@caught_by("TX-03")
class CommitsWhenCancelled(MemoryBackend):
    """Rolls back for an `Exception`, which a cancellation is not."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writing:
            copy = self._state.copy()
            try:
                yield MemoryTransaction(copy)
            except Exception:
                raise
            except BaseException:
                self._state = copy
                raise
            self._state = copy


@caught_by("TX-02")
class RollsBackEventsAlone(MemoryBackend):
    """Keeps snapshots and checkpoints in another place, which takes no part in the transaction."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writing:
            copy = self._state.copy()
            copy.snapshots, copy.checkpoints = self._state.snapshots, self._state.checkpoints
            yield MemoryTransaction(copy)
            self._state = copy


@caught_by("TX-05")
class KeepsIdsOfARollback(CarelessState):
    """Remembers the ids of what was rolled back: it can never be appended again."""

    def copy(self) -> State:
        copy = super().copy()
        copy._by_id = self._by_id
        return copy


@caught_by("TX-04")
class RefusesEmptyTransactions(MemoryBackend):
    """Fails a transaction in which nothing was done."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction() as session:
            before = session._state.copy()
            yield session
            if session._state.head == before.head and session._state.checkpoints == before.checkpoints:
                raise RuntimeError("nothing to commit")


@caught_by("TX-07")
class ReadsOutsideOfItsTransaction(MemoryBackend):
    """Reads on another connection: a transaction does not see what it wrote itself."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction() as session:
            elsewhere: Any = _ReadingElsewhere(session, self)
            yield elsewhere


class _ReadingElsewhere:
    """A session that reads from another one."""

    def __init__(self, writing: MemoryTransaction, reading: MemoryBackend) -> None:
        self._writing, self._reading = writing, reading

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reading if name.startswith(("read", "load", "list", "stream")) else self._writing, name)


@caught_by("TX-10")
class RefusesWritersBesideATransaction(MemoryBackend):
    """Fails whoever writes while a transaction is open, instead of having them wait (`database is locked`)."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        if self._writing.locked():
            raise RuntimeError("database is locked")
        return await super().append(transactions)


@caught_by("TX-11", "TX-10")
class TakesTheLastCommit(MemoryBackend):
    """Lets transactions run side by side, and the one that commits last overwrites what the others did."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        copy = self._state.copy()
        await asyncio.sleep(0)
        yield MemoryTransaction(copy)
        self._state = copy


@caught_by("TX-12")
class IsLostAfterARefusal(MemoryBackend):
    """Can do nothing more in a transaction after a refused call, as a database that knows no savepoint."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction() as session:
            yield _Failing(session._state)


class _Failing(MemoryTransaction):
    has_failed = False

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        if self.has_failed:
            raise RuntimeError("current transaction is aborted")
        outcomes = await super().append(transactions)
        self.has_failed = any(isinstance(outcome, Conflict) for outcome in outcomes)
        return outcomes


@caught_by("TX-13")
class CommitsWhatWasRefused(EventStore):
    """Takes a refusal for an answer, and commits what came before it although the block was left by its error."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[StoreTransaction]:
        refusal: EventStoreError | None = None
        async with super().transaction() as tx:
            try:
                yield tx
            except EventStoreError as error:
                refusal = error
        if refusal:
            raise refusal


@caught_by("TX-14")
class WritesPastItsTransaction(EventStore):
    """Does not notice writes through the store inside of a transaction: they wait for its end, which never comes."""

    def _check_outside_transaction(self) -> None:
        pass


@caught_by("TX-15")
class JoinsTheOuterTransaction(EventStore):
    """Takes a transaction within a transaction for the outer one."""

    outer: StoreTransaction | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[StoreTransaction]:
        if self.outer is not None and not self.outer._is_over:
            yield self.outer
            return
        async with super().transaction() as self.outer:
            yield self.outer


@caught_by("TX-16")
class GoesOnAfterItsEnd(EventStore):
    """Writes to wherever it can once its transaction has ended."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[StoreTransaction]:
        async with super().transaction() as tx:
            yield tx
        tx._is_over = False

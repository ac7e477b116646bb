"""Mutants that are right until a line is cut, a server is killed, or a process."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from eventstore import ANY, EventStore, ExpectedVersion, Filter, NewEvent, RecordedEvent, StoreUnavailable
from eventstore.backend import Direction, Outcome, Transaction
from eventstore_memory.backend import MemoryTransaction
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.worlds import BehindALock, InAProcessOfItsOwn, Remote, RemoteBackend, RemoteTransaction

# --- Lines -----------------------------------------------------------------------------------------------------------


class _NewIds(EventStore):
    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        self._retry_timeout = 0
        try:
            return await super().append(stream_id, events, expected_version=expected_version)
        except StoreUnavailable:
            again = [NewEvent(event.event_type, event.data, event.metadata) for event in events]
            return await super().append(stream_id, again, expected_version=ANY)


@caught_by("FAULT-03")
class SendsItAgainUnderOtherIds(Remote):
    """Makes new ids when it sends an append again: what was stored already is stored a second time."""

    store = _NewIds


class _Impatient(EventStore):
    async def _repeatable(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)


@caught_by("FAULT-03", "FAULT-05")
class NeverTriesAgain(Remote):
    """Gives up at the first lost connection, whatever time it was given."""

    store = _Impatient


@caught_by("FAULT-04")
class TakesALostReplyForARefusal(Remote):
    """Says that nothing was stored when the reply was lost, and does not know."""

    says_unknown = False


class _EndsEarly(EventStore):
    async def _read_all(
        self, after: int, before: int | None, filter: Filter | None, limit: int | None, direction: Direction
    ) -> AsyncIterator[RecordedEvent]:
        self._retry_timeout = 0
        try:
            async for event in super()._read_all(after, before, filter, limit, direction):
                yield event
        except StoreUnavailable:
            return


@caught_by("FAULT-05")
class TakesALostLineForTheEnd(Remote):
    """Ends the reading when the connection is lost, as if that were all."""

    store = _EndsEarly


class _Autocommit(RemoteBackend):
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with self._writing:
            yield RemoteTransaction(self._state, self.world)


@caught_by("FAULT-06", "TX-02")
class KeepsWhatWasCutOff(Remote):
    """Commits each call of a transaction by itself: what came before the cut is kept."""

    def backend(self) -> RemoteBackend:
        return _Autocommit(self)


# --- Servers ---------------------------------------------------------------------------------------------------------


class _Lazy(RemoteBackend):
    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        self.database.__dict__["on_disk"] = self.database.state.copy()
        outcomes: Sequence[Outcome] = await super().append(transactions)
        return outcomes


@caught_by("FAULT-07")
class AcknowledgesBeforeItIsOnDisk(Remote):
    """Writes to the disk a little later than it says: the last append is lost with the power."""

    def backend(self) -> RemoteBackend:
        return _Lazy(self)

    def die(self) -> None:
        self.database.state = self.database.__dict__["on_disk"]


@caught_by("FAULT-07")
class KeepsCheckpointsInACache(Remote):
    """Keeps checkpoints in a cache beside the database, which the server's death empties."""

    def die(self) -> None:
        self.database.state.checkpoints.clear()


@caught_by("FAULT-08")
class BeginsPositionsAnewAfterACrash(Remote):
    """Counts positions in memory, and from 1 again after a crash: what is appended lies below the bookmarks."""

    def die(self) -> None:
        self.database.state._positions = itertools.count(1)


# --- Processes -------------------------------------------------------------------------------------------------------


@caught_by("FAULT-09")
class LosesWhatAProcessAcknowledged(InAProcessOfItsOwn):
    """Acknowledges what is in the memory of the process, which writes it out when it ends well."""


@caught_by("FAULT-10")
class LeavesTheLockOfADeadProcess(BehindALock):
    """Marks a lock in the database, and nobody clears it when its owner was killed."""

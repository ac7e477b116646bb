"""Mutants that are right as long as nobody else does anything at the same time, and as long as nobody is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec.structs import replace

from eventstore import ANY, NO_STREAM, STREAM_EXISTS, EventStore, ExpectedVersion, NewEvent, RecordedEvent, StorageError
from eventstore.backend import Appended, AppendedStream, Direction, EncodedSnapshot, Outcome, StreamState, Transaction
from eventstore_memory import MemoryBackend
from eventstore_memory.state import utc_now
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import expecting


async def others_run() -> None:
    """Let other tasks run, as a round trip to a database does."""
    await asyncio.sleep(0)


# --- Checks outside the lock -----------------------------------------------------------------------------------------


@caught_by("RACE-01", "RACE-07")
class ChecksTheVersionOutsideTheLock(MemoryBackend):
    """Reads the version, then writes, in two statements without a unique index behind them: updates are lost."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes = []
        for transaction in transactions:
            verdict: Outcome = self._state.copy().append(transaction)
            await others_run()
            if isinstance(verdict, Appended):
                verdict = self._state.append(expecting(transaction, lambda _: ANY))
            outcomes.append(verdict)
        return outcomes


@caught_by("RACE-05")
class ChecksIdsOutsideTheLock(MemoryBackend):
    """Looks ids up first and inserts later, without a unique index: two retries at once are both stored."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes = []
        for transaction in transactions:
            known = self._state._by_id
            fresh = not any(event.event_id in known for append in transaction for event in append.events)
            await others_run()
            if fresh:
                self._state._by_id = {}
            outcomes.append(self._state.append(transaction))
            self._state._by_id = known | self._state._by_id
        return outcomes


@caught_by("RACE-02", "RACE-03")
class TurnsAnyIntoTheVersionItReads(EventStore):
    """Emulates `ANY` by reading the version first: one of two racers fails, and a retry is stored again."""

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        if expected_version in (ANY, STREAM_EXISTS) and await self.stream_version(stream_id):
            expected_version = await self.stream_version(stream_id)
        elif expected_version is ANY and not await self.stream_info(stream_id):
            expected_version = NO_STREAM
        await others_run()
        return await super().append(stream_id, events, expected_version=expected_version)


@caught_by("DELETE-13", "DELETE-15")
class DeletesOutsideTheLock(MemoryBackend):
    """Checks the version of what it deletes before it waits for the lock."""

    async def delete_stream(
        self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        refusal = self._state.copy().delete_stream(stream_id, expected_version, erase=erase)
        await others_run()
        if refusal is not None:
            return refusal
        await super().delete_stream(stream_id, ANY, erase=erase)
        return None


@caught_by("DELETE-14")
class LetsAppendsPassATombstone(MemoryBackend):
    """Looks for the tombstone before it waits for the lock: an append that began before the delete comes after it."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        streams = self._state._streams
        alive = [append.stream_id for it in transactions for append in it if append.stream_id in streams]
        alive = [stream_id for stream_id in alive if not streams[stream_id].deleted]
        await others_run()
        revived = [streams[stream_id] for stream_id in alive if streams[stream_id].deleted]
        for stream in revived:
            stream.deleted = False
        outcomes = await super().append(transactions)
        for stream in revived:
            stream.deleted = True
        return outcomes


@caught_by("TRUNCATE-10")
class TruncatesWhatItReadBefore(MemoryBackend):
    """Reads the events to keep and writes them back: what is appended in between is gone."""

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        stream = self._state._streams.get(stream_id)
        kept = list(stream.events) if stream else []
        await others_run()
        if stream and not stream.deleted:
            stream.events = kept
        return await super().truncate_stream(stream_id, before_version)


@caught_by("SNAPSHOT-11")
class ChecksSnapshotsOutsideTheLock(MemoryBackend):
    """Compares the versions of snapshots, then replaces: of two at once the slower one stays."""

    async def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        kept = self._state.snapshots.get(snapshot.stream_id)
        await others_run()
        if kept is None or kept[0].version <= snapshot.version:
            self._state.snapshots.pop(snapshot.stream_id, None)
        return await super().save_snapshot(snapshot)


# --- Locks and groups ------------------------------------------------------------------------------------------------


@caught_by("RACE-06")
class LocksStreamsInTheOrderGiven(MemoryBackend):
    """Locks one stream after the other in the caller's order: two transactions wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self._locks: dict[str, asyncio.Lock] = {}

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        async with AsyncExitStack() as locks:
            for append in (append for transaction in transactions for append in transaction):
                lock = self._locks.setdefault(append.stream_id, asyncio.Lock())
                await locks.enter_async_context(self._found_to_deadlock(lock))
                await others_run()
            return await super().append(transactions)

    @asynccontextmanager
    async def _found_to_deadlock(self, lock: asyncio.Lock) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(lock.acquire(), timeout=0.5)
        except TimeoutError as error:
            raise StorageError("deadlock detected") from error
        try:
            yield
        finally:
            lock.release()


@caught_by("RACE-08")
class MixesUpOutcomes(MemoryBackend):
    """Keeps the outcome of a group in one place, where the last of the group overwrites it."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        self._outcomes = await super().append(transactions)
        await others_run()
        return self._outcomes


@caught_by("RACE-11")
class CancelsTheWholeGroup(MemoryBackend):
    """Collects appends into a group and awaits it unshielded: who cancels one cancels all."""

    _group: asyncio.Task[None] | None = None

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        if self._group is None or self._group.done():
            self._group = asyncio.create_task(self._collect())
        await self._group
        return await super().append(transactions)

    async def _collect(self) -> None:
        for _ in range(5):
            await others_run()


@caught_by("RACE-12")
class LosesTheConnectionsOfCancelledReaders(MemoryBackend):
    """Gives connections back at the end of a read, and not when the read is cancelled: the pool runs dry."""

    _connections = 40

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        if not self._connections:
            raise StorageError("the pool has no connection left")
        self._connections -= 1
        for _ in range(3):
            await others_run()
        self._connections += 1
        return await super().read_stream(stream_id, start, limit, direction)


@caught_by("RACE-10")
class KeepsTheLockOfACancelledAppend(MemoryBackend):
    """Releases its lock at the end of an append, and not when the append is cancelled."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        try:
            await asyncio.wait_for(self._writing.acquire(), timeout=0.1)
        except TimeoutError as error:
            raise StorageError("the lock is held by another") from error
        await others_run()
        outcomes = [self._state.append(transaction) for transaction in transactions]
        self._writing.release()
        return outcomes


@caught_by("RACE-10", "RACE-11")
class StopsInTheMiddleOfABatch(MemoryBackend):
    """Inserts event by event and awaits between: cancelled, it leaves a part of the batch."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        async with self._writing:
            for transaction in transactions:
                verdict: Outcome = self._state.copy().append(transaction)
                if isinstance(verdict, Appended):
                    verdict = await self._insert_one_by_one(transaction)
                outcomes.append(verdict)
        return outcomes

    async def _insert_one_by_one(self, transaction: Transaction) -> Outcome:
        now = utc_now()
        self._state._clock = lambda: now
        streams: list[AppendedStream] = []
        for append in transaction:
            for event in append.events:
                one = replace(append, expected_version=ANY, events=(event,))
                placed = self._state.append([one])
                await others_run()
                assert isinstance(placed, Appended)
                streams += placed.streams
        firsts = []
        for append in transaction:
            mine = [streams.pop(0) for _ in append.events]
            positions = tuple(position for placed in mine for position in placed.positions)
            firsts.append(replace(mine[0], positions=positions))
        return Appended(tuple(firsts))


@caught_by("RACE-09")
class ShowsABatchBeforeItIsWhole(StopsInTheMiddleOfABatch):
    """Inserts event by event and shields that from being cancelled, but readers see the first events alone."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        return await asyncio.shield(asyncio.ensure_future(super().append(transactions)))

"""Mutants whose consumers lose events, handle them twice, mix up their order, or fight over partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import msgspec

from eventstore import Capability, Consumer, EventStore, HandlerFailed, RecordedEvent, StoreTransaction
from eventstore import consumers as consumers_module
from eventstore import partitions as partitions_module
from eventstore import workers as workers_module
from eventstore.backend import Entry
from eventstore.handlers import HandlerError
from eventstore.ledger import FAILED, Kept, Parked, Partition, Settings
from eventstore.partitions import PartitionWorker
from eventstore.workers import Worker
from eventstore_memory import MemoryBackend
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import SharedMemory
from tests.conformance.mutants.worlds import Remote

# --- What the backend keeps ------------------------------------------------------------------------------------------


@caught_by("CONSUMER-16")
class SavesWhateverIsThere(MemoryBackend):
    """Keeps an entry whatever its version: a worker that lost its lease moves the position all the same."""

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        entry = self._state.entries.get((name, key))
        await super().save_entry(name, key, data, 0 if entry is None else entry.version)
        return expected


@caught_by("CONSUMER-02")
class ForgetsEntries(MemoryBackend):
    """Forgets what consumers keep, and says that it does not."""

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        found = await super().save_entry(name, key, data, expected)
        if found == expected and data is not None and b'"worker":null' in data:
            del self._state.entries[name, key]
        return found


@caught_by("CONSUMER-17")
class FoldsTheNamesOfConsumers(MemoryBackend):
    """Keeps entries by the first character of a name."""

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        return await super().save_entry(name[:1], key, data, expected)

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        return await super().list_entries(name and name[:1], prefix, after, limit)


@caught_by("CONSUMER-09")
class KeepsEntriesOutsideTheTransaction(MemoryBackend):
    """Keeps a consumer's progress at once, whether the transaction that it belongs to commits or not."""

    def transaction(self) -> Any:
        state = self._state
        copied = super().transaction()

        class Transaction:
            async def __aenter__(self) -> Any:
                self.session = await copied.__aenter__()
                self.session._state.entries = state.entries
                return self.session

            async def __aexit__(self, *reason: Any) -> Any:
                return await copied.__aexit__(*reason)

        return Transaction()


@caught_by("CONSUMER-23")
class KeepsEntriesAsCheckpoints(MemoryBackend):
    """Keeps a consumer's progress in the checkpoint of its name."""

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        self._state.checkpoints[name] = expected + 1_000
        return await super().save_entry(name, key, data, expected)


class _WithoutConsumers(MemoryBackend):
    capabilities = frozenset({Capability.TRANSACTIONS})


@caught_by("CONSUMER-24")
class OffersWhatItLacks(EventStore):
    """Makes consumers over a backend that cannot keep their progress."""

    def __init__(self, _backend: object, **options: Any) -> None:
        super().__init__(_WithoutConsumers(), **options)

    def _require(self, capability: Capability, call: str) -> None:
        """Require nothing."""


@caught_by("CONSUMER-03")
class ForgetsConsumersWhenClosed(SharedMemory):
    """Keeps what consumers have done in memory, and not on the disk."""

    async def close(self) -> None:
        await super().close()
        self._state.entries.clear()


# --- Partitions ------------------------------------------------------------------------------------------------------


class _Broken(EventStore):
    """A store whose consumers work on partitions, or as workers, in another way."""

    partition: type[PartitionWorker] = PartitionWorker
    worker: type[Worker] = Worker
    kind: type[Consumer] = Consumer

    def consumer(self, name: str, handler: Any, **options: Any) -> Consumer:
        made = super().consumer(name, handler, **options)
        broken = self.kind.__new__(self.kind)
        broken.__dict__.update(made.__dict__)
        run, store = broken._run, self

        async def patched(until: int | None = None) -> None:
            with (
                patch.object(workers_module, "PartitionWorker", store.partition),
                patch.object(consumers_module, "Worker", store.worker),
            ):
                await run(until)

        broken._run = patched  # type: ignore[method-assign]
        return broken


class _MovesFirst(PartitionWorker):
    async def _try(self, events: Sequence[RecordedEvent], position: int) -> None:
        if not self._work.handling.exactly_once:
            await self._save(position=position, attempts=0)
        await super()._try(events, position)


@caught_by("CONSUMER-08")
class MovesFirst(_Broken):
    """Moves the position before the events are handled: what is in hand when the process ends is lost."""

    partition = _MovesFirst


class _CountsWhatIsInHand(PartitionWorker):
    async def _try(self, events: Sequence[RecordedEvent], position: int) -> None:
        try:
            await super()._try(events, position)
        except asyncio.CancelledError:
            if not self._work.handling.exactly_once:
                await self._save(position=self._kept.state.position + 1, attempts=0)
            raise


@caught_by("CONSUMER-07")
class CountsWhatIsInHand(_Broken):
    """Counts the event in hand as handled when it is cancelled."""

    partition = _CountsWhatIsInHand


class _NeverSaves(PartitionWorker):
    async def _save(self, **changes: Any) -> None:
        changes.pop("position", None)
        await super()._save(**changes)


@caught_by("CONSUMER-02", "CONSUMER-05")
class NeverSaves(_Broken):
    """Keeps the position in memory."""

    partition = _NeverSaves


class _PassesNothing(PartitionWorker):
    async def _handle(self, events: Sequence[RecordedEvent], looked_to: int) -> None:
        await super()._handle(events, events[-1].global_position)

    @property
    def _may_save(self) -> bool:
        return False


@caught_by("CONSUMER-05")
class PassesNothing(_Broken):
    """Moves the position to what was handled, and never past what the filter left out."""

    partition = _PassesNothing


class _TwoTransactions(PartitionWorker):
    async def _try(self, events: Sequence[RecordedEvent], position: int) -> None:
        if self._work.handling.exactly_once:
            async with self._work.store.transaction() as tx:
                await self._work.handling(events, tx, lambda _: None)
            await asyncio.sleep(0.01)
            await self._save(position=position, attempts=0)
        else:
            await super()._try(events, position)


@caught_by("CONSUMER-09", "WORKER-07")
class SavesAfterTheTransaction(_Broken):
    """Moves the position when the handler's transaction has committed: in between it may be cancelled."""

    partition = _TwoTransactions


class _OneByOne(PartitionWorker):
    async def _handle(self, events: Sequence[RecordedEvent], looked_to: int) -> None:
        for event in events:
            await super()._handle([event], event.global_position)


@caught_by("CONSUMER-04")
class HandsOverOneByOne(_Broken):
    """Hands over batches of one."""

    partition = _OneByOne


class _Unordered(PartitionWorker):
    async def _handle(self, events: Sequence[RecordedEvent], looked_to: int) -> None:
        await super()._handle(list(events)[::-1], looked_to)


@caught_by("CONSUMER-01", "WORKER-01")
class UnorderedPartitions(_Broken):
    """Hands a partition's events over in another order than that of their streams."""

    partition = _Unordered


class _Doubling(PartitionWorker):
    def _is_ours(self, event: RecordedEvent) -> bool:
        return super()._is_ours(event) or event.version == 5


@caught_by("WORKER-01")
class DoublesBetweenPartitions(_Broken):
    """Has some events handled in every partition."""

    partition = _Doubling


@caught_by("WORKER-02")
class SpreadsStreamsAtRandom(_Broken):
    """Spreads streams by a hash that is another one in each version, process or engine."""

    def consumer(self, name: str, handler: Any, **options: Any) -> Consumer:
        consumer = super().consumer(name, handler, **options)
        run = consumer._run

        async def patched(until: int | None = None) -> None:
            with patch.object(partitions_module, "partition_of", lambda stream_id, number: len(stream_id) % number):
                await run(until)

        consumer._run = patched  # type: ignore[method-assign]
        return consumer


class _Abandons(PartitionWorker):
    def stop(self) -> None:
        super().stop()
        for task in asyncio.all_tasks():
            if task.get_name().startswith("eventstore reader"):
                task.cancel()


@caught_by("CONSUMER-11")
class AbandonsOnStop(_Broken):
    """Cancels the handler when it is told to stop."""

    partition = _Abandons


class _Greedy(PartitionWorker):
    def stop(self) -> None:
        """Go on to the end of the batch."""
        asyncio.get_running_loop().call_later(0.05, super().stop)


@caught_by("CONSUMER-12")
class FinishesTheBatch(_Broken):
    """Goes on for a while when a handler stops it."""

    partition = _Greedy


class _KeepsIt(PartitionWorker):
    async def _give_back(self) -> None:
        """Do nothing."""


@caught_by("WORKER-06")
class LeavesWithoutAWord(_Broken):
    """Keeps its partitions when it stops: whoever comes next waits for a lease to end."""

    partition = _KeepsIt

    class _Stays(Worker):
        async def _sign_off(self) -> None:
            """Stay on the list."""

    worker = _Stays


# --- Workers ---------------------------------------------------------------------------------------------------------


class _SplitBrain(Worker):
    def _alive(self, workers: Any, partitions: Any) -> set[str]:
        return {self.id}


@caught_by("WORKER-04")
class SplitBrain(_Broken):
    """Takes every other worker for dead: two work on one partition."""

    worker = _SplitBrain


class _GoesHome(Worker):
    async def _take_share(self) -> None:
        await super()._take_share()
        if not self._running:
            self.stop()


@caught_by("WORKER-09")
class GoesHome(_Broken):
    """Ends when there is nothing for it to do, and is not there when another leaves."""

    worker = _GoesHome


class _StopsBeating(Worker):
    async def _leave(self) -> None:
        self._lease *= 1_000
        await super()._leave()


@caught_by("WORKER-10")
class StopsBeating(_Broken):
    """Gives no sign of life while it finishes what it has in hand: another handles that, too."""

    worker = _StopsBeating


class _Everything(Worker):
    def _give_up(self, surplus: int) -> None:
        """Keep everything."""


@caught_by("WORKER-03")
class GivesNothingUp(_Broken):
    """Keeps all partitions that it once had: workers that come later have nothing to do."""

    worker = _Everything


class _BelievesTheDead(Worker):
    def _alive(self, workers: Any, partitions: list[Kept[Partition]]) -> set[str]:
        return super()._alive(workers, partitions) | {kept.state.worker for kept in partitions if kept.state.worker}


@caught_by("WORKER-05")
class BelievesTheDead(Remote):
    """Takes a worker for alive as long as it is on the list."""

    class _Store(_Broken):
        worker = _BelievesTheDead

    store = _Store


class _NoticesNothing(Worker):
    def _drop_lost(self, partitions: Any) -> None:
        """Notice nothing."""


@caught_by("CONSUMER-15")
class NoticesNoReset(_Broken):
    """Notices that a partition was taken away when it next saves: one that waits for events never does."""

    worker = _NoticesNothing


class _OneAtATime(PartitionWorker):
    _turn = asyncio.Lock()

    async def _handle(self, events: Sequence[RecordedEvent], looked_to: int) -> None:
        async with _OneAtATime._turn:
            await super()._handle(events, looked_to)


@caught_by("WORKER-08")
class TakesTurns(_Broken):
    """Handles one event at a time over all partitions and consumers."""

    partition = _OneAtATime


# --- Progress --------------------------------------------------------------------------------------------------------


class _Changed(Consumer):
    """One that is not told."""


class _WaitsForAWorker(_Changed):
    async def wait_until(self, position: int) -> None:
        while self._worker is None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)
        await super().wait_until(position)


@caught_by("CONSUMER-13")
class WaitsForItself(_Broken):
    """Waits for the progress of its own process only."""

    kind = _WaitsForAWorker


class _NoHead(_Changed):
    async def status(self) -> Any:
        return msgspec.structs.replace(await super().status(), head=0)


@caught_by("CONSUMER-14")
class KnowsNoHead(_Broken):
    """Has caught up with what it has handled, whatever is in the log."""

    kind = _NoHead


class _StaysWhereItIs(_Changed):
    async def reset(self, to: Any = 0) -> None:
        """Change where new partitions begin, and nothing else."""


@caught_by("CONSUMER-15", "CONSUMERERROR-14")
class ResetsNothing(_Broken):
    """Resets nothing that has begun."""

    kind = _StaysWhereItIs


class _BeginsAnew(_Changed):
    async def _settings(self) -> Any:
        settings = await super()._settings()
        await self.reset(to=self._options.after)
        return settings


@caught_by("CONSUMER-06")
class BeginsAnew(_Broken):
    """Begins where it is told to each time, not only when it is new."""

    kind = _BeginsAnew


class _AnyNumber(_Changed):
    async def _settings(self) -> Any:
        kept = await self._ledger.find("settings", Settings)
        if kept is not None:
            await self._ledger.save(
                "settings", msgspec.structs.replace(kept.state, partitions=self._options.partitions), kept.version
            )
        return await super()._settings()


@caught_by("CONSUMER-21")
class TakesAnyNumberOfPartitions(_Broken):
    """Goes on with another number of partitions: streams change places, and their order is gone."""

    kind = _AnyNumber


class _RunsTwice(_Changed):
    async def run(self) -> None:
        self._ended.set()
        await super().run()


@caught_by("CONSUMER-22")
class RunsTwice(_Broken):
    """Runs a second time beside itself, and loses sight of the first."""

    kind = _RunsTwice


class _SwitchesAtOnce(_Changed):
    async def _try_to_switch(self, replaced: str) -> bool:
        async with self._store.transaction() as tx:
            if self._on_switch is not None:
                await self._on_switch(tx)
        return True


@caught_by("CONSUMER-18")
class SwitchesAtOnce(_Broken):
    """Switches over to a rebuild before that has caught up, and leaves the other running."""

    kind = _SwitchesAtOnce


class _SwitchesApart(_Changed):
    async def _switch(self, replaced: str, tx: StoreTransaction) -> None:
        switch, self._on_switch = self._on_switch, None
        await super()._switch(replaced, tx)
        self._on_switch = switch
        task = asyncio.create_task(self._apart())
        await asyncio.wait([task])

    async def _apart(self) -> None:
        if self._on_switch is not None:
            await self._on_switch(self._store)  # type: ignore[arg-type]


@caught_by("CONSUMER-19")
class SwitchesInPieces(_Broken):
    """Switches beside the transaction, not in it: half a switch stays when it fails."""

    kind = _SwitchesApart


@caught_by("CONSUMER-20", "CONSUMERERROR-15")
class ChecksNothingOfConsumers(EventStore):
    """Looks at the arguments of a consumer when it runs, if at all."""

    def consumer(self, name: str, handler: Any, **options: Any) -> Consumer:
        try:
            consumer = super().consumer(name, handler, **options)
        except (ValueError, TypeError):
            consumer = super().consumer("reader", _nothing)

        async def replay(position: Any = None) -> int:
            return 0

        consumer.replay = replay  # type: ignore[method-assign]
        return consumer


async def _nothing(event: RecordedEvent) -> None:
    """Do nothing."""


# --- Errors ----------------------------------------------------------------------------------------------------------


class _TriesOnce(PartitionWorker):
    async def _try_again_and_again(self, event: RecordedEvent, position: int, times: int) -> HandlerError | None:
        return HandlerError(event)


@caught_by("CONSUMERERROR-01", "CONSUMERERROR-03")
class TriesOnce(_Broken):
    """Tries an event once."""

    partition = _TriesOnce


class _PassesIt(PartitionWorker):
    async def _handle_patiently(self, event: RecordedEvent, position: int, failed: HandlerError | None) -> None:
        try:
            await super()._handle_patiently(event, position, failed)
        except HandlerFailed:
            await self._save(position=position, attempts=0)


@caught_by("CONSUMERERROR-02")
class PassesWhatFails(_Broken):
    """Logs what fails, and goes on with the next."""

    partition = _PassesIt


class _ForgetsAttempts(PartitionWorker):
    def __init__(self, work: Any, number: int, kept: Kept[Partition], *, was_dropped: bool) -> None:
        kept = kept._replace(state=msgspec.structs.replace(kept.state, attempts=0))
        super().__init__(work, number, kept, was_dropped=was_dropped)


@caught_by("CONSUMERERROR-10", "CONSUMERERROR-11")
class ForgetsAttempts(_Broken):
    """Counts attempts in memory: an event that takes the process down is tried for ever."""

    partition = _ForgetsAttempts


class _ParksBatches(PartitionWorker):
    async def _handle_one_by_one(
        self, events: Sequence[RecordedEvent], looked_to: int, failed: HandlerError | None = None
    ) -> None:
        for event in events:
            await self._park(event, FAILED, 1, None)
        await self._save(position=looked_to, attempts=0)


@caught_by("CONSUMERERROR-09")
class ParksWholeBatches(_Broken):
    """Parks the batch in which something failed."""

    partition = _ParksBatches


class _LetsThemPass(PartitionWorker):
    async def _put_behind(self, events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
        return list(events)


@caught_by("CONSUMERERROR-06", "CONSUMERERROR-07", "CONSUMERERROR-08")
class LetsLaterEventsPass(_Broken):
    """Parks an event, and lets later ones of its stream pass it."""

    partition = _LetsThemPass


class _NeverReplays(PartitionWorker):
    async def _try_parked(self, events: Sequence[RecordedEvent], parked: Kept[Parked]) -> None:
        await self._work.ledger.remove(parked.key, parked.version)


@caught_by("CONSUMERERROR-04")
class ReplaysNothing(_Broken):
    """Takes a parked event off the list without handling it."""

    partition = _NeverReplays


class _ReplaysOutside(PartitionWorker):
    async def _try_parked(self, events: Sequence[RecordedEvent], parked: Kept[Parked]) -> None:
        if self._work.handling.exactly_once:
            async with self._work.store.transaction() as tx:
                await self._work.handling(events, tx, lambda _: None)
            async with self._work.store.transaction() as tx:
                await self._work.handling(events, tx, lambda _: None)
        await self._work.ledger.remove(parked.key, parked.version)


@caught_by("CONSUMERERROR-12")
class ReplaysTwice(_Broken):
    """Handles a parked event in one transaction, and takes it off the list in another."""

    partition = _ReplaysOutside


class _Copies(PartitionWorker):
    async def _replay(self, parked: Kept[Parked]) -> bool:
        return False


@caught_by("CONSUMERERROR-13")
class HangsOnTheErased(_Broken):
    """Keeps a parked event on the list whose stream was erased."""

    partition = _Copies


class _DiscardsNothing(_Changed):
    async def discard(self, position: int | None = None) -> int:
        return await self.replay(position)


@caught_by("CONSUMERERROR-05")
class ReplaysWhatIsDiscarded(_Broken):
    """Handles an event again that was to be forgotten."""

    kind = _DiscardsNothing


class _KeepsTheTransaction(PartitionWorker):
    async def _try(self, events: Sequence[RecordedEvent], position: int) -> None:
        if not self._work.handling.exactly_once:
            await super()._try(events, position)
            return
        failure: HandlerError | None = None
        async with self._work.store.transaction() as tx:
            try:
                await self._work.handling(events, tx, lambda _: None)
            except HandlerError as error:
                failure = error
        if failure is not None:
            raise failure from failure.__cause__
        await self._save(position=position, attempts=0)


@caught_by("CONSUMER-10")
class CommitsWhatFailed(_Broken):
    """Commits what a handler did before it failed."""

    partition = _KeepsTheTransaction

"""Consumers: named, checkpointed subscriptions that survive restarts, share work, and know what to do on errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from eventstore.arguments import check_integer
from eventstore.backend import Direction
from eventstore.errors import ConsumerReplaced, InvalidArgument, StoreUnavailable, TransactionConflict
from eventstore.events import RecordedEvent
from eventstore.handlers import Handling
from eventstore.ledger import (
    PARKED,
    PARTITION,
    REPLAY,
    SETTINGS,
    Kept,
    Ledger,
    Parked,
    Partition,
    Settings,
    StateT,
    StoreEntries,
    entries_of,
    is_to_be_replayed,
    partition_key,
)
from eventstore.partitions import Work
from eventstore.policies import ConsumerOptions
from eventstore.subscriptions import LogEnd
from eventstore.workers import Worker

if TYPE_CHECKING:
    from eventstore.store import EventStore, StoreTransaction

Switch: TypeAlias = "Callable[[StoreTransaction], Awaitable[None]]"

_log: Final = logging.getLogger("eventstore")

_FIRST_LOOK: Final = 0.005
_LAST_LOOK: Final = 0.25


class PartitionStatus(msgspec.Struct, frozen=True):
    """How far a partition has come.

    `worker` names host, process and run of who works on it, None if nobody does. `attempts`: how often its next event
    has failed. `handled`: events, in all. `rate`: positions per second, lately.
    """

    number: int
    position: int
    worker: str | None
    attempts: int
    handled: int
    rate: float


class ConsumerStatus(msgspec.Struct, frozen=True):
    """How far a consumer has come, beside the `head` of the log. `parked`: how many events are set aside."""

    name: str
    head: int
    partitions: tuple[PartitionStatus, ...]
    parked: int
    replaced_by: str | None

    @property
    def position(self) -> int:
        """Up to here every event was handled or parked."""
        return min(partition.position for partition in self.partitions)

    @property
    def lag(self) -> int:
        """How many positions it is behind the head; 0 when it has caught up."""
        return max(0, self.head - self.position)

    @property
    def rate(self) -> float:
        """Positions per second of the slowest partition that is behind."""
        behind = [partition.rate for partition in self.partitions if partition.position < self.head]
        return min(behind, default=0.0)

    @property
    def seconds_left(self) -> float | None:
        """When it will have caught up if it goes on like this; None where that cannot be told."""
        if self.lag == 0:
            return 0.0
        return self.lag / self.rate if self.rate > 0 else None


class ParkedEvent(msgspec.Struct, frozen=True):
    """An event that was set aside.

    `event` is None if it was removed from the log since. `state` is "failed", "waiting" (behind one of its stream that
    failed) or "replay" (to be handled again). `error` is what the handler raised last.
    """

    event: RecordedEvent | None
    position: int
    stream_id: str
    state: str
    attempts: int
    error: str
    parked_at: datetime


class Consumer:
    """A handler's way through the log; made by `EventStore.consumer`."""

    def __init__(
        self,
        store: EventStore,
        name: str,
        handling: Handling,
        options: ConsumerOptions,
        replaces: str | None,
        on_switch: Switch | None,
    ) -> None:
        self.name = name
        self._store = store
        self._handling = handling
        self._options = options
        self._replaces = replaces
        self._on_switch = on_switch
        self._ledger = Ledger(name, StoreEntries(store))
        self._worker: Worker | None = None
        self._is_stopping = False
        self._ended = asyncio.Event()
        self._ended.set()
        self._moved = asyncio.Event()

    # --- Working -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle what is there and then what comes, until `stop()` or a cancellation.

        Any number of processes may do so at once: they share the partitions. An event in hand is finished on `stop()`
        and abandoned on a cancellation; either way the progress is saved and the partitions are given back. While the
        database is out of reach it waits. Raises `HandlerFailed` under `OnError.STOP`, `ConsumerReplaced`, and
        `InvalidArgument` if this consumer was begun with another number of partitions.
        """
        await self._run()

    async def run_until_caught_up(self) -> None:
        """Handle, or park, what is in the log by now or to be replayed, and return: for tests, and for jobs."""
        await self._run(await self._store.head())

    async def stop(self) -> None:
        """Let `run()` finish the event in hand, save and end; return when it has. A handler may call it, too."""
        self._store._check_owner()
        self._is_stopping = True
        worker = self._worker
        if worker is not None:
            worker.stop()
        if worker is None or asyncio.current_task() not in worker.tasks:
            await self._ended.wait()

    async def _run(self, until: int | None = None) -> None:
        if not self._ended.is_set():
            raise InvalidArgument("consumer", self.name, "it is running already; make another one for a second worker")
        self._ended.clear()
        self._is_stopping = False
        try:
            settings = await self._settings()
            options = self._options
            work = Work(self._store, self._ledger, self._handling, options, options.partitions, self._moved.set)
            self._worker = worker = Worker(work, settings)
            if not self._is_stopping:
                await self._run_beside(worker, self._switch_over(), self._stop_at(until))
        finally:
            self._worker = None
            self._ended.set()

    async def _run_beside(self, worker: Worker, *others: Coroutine[Any, Any, None]) -> None:
        """Run the worker; it is stopped when one of the others fails, whose error is raised then."""
        tasks = [asyncio.create_task(other, name=f"eventstore {self.name}") for other in others]

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                worker.stop()

        for task in tasks:
            task.add_done_callback(ended)
        try:
            await worker.run()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _stop_at(self, position: int | None) -> None:
        if position is not None:
            await self.wait_until(position)
            while self._worker is not None and is_to_be_replayed(await self._ledger.all(PARKED, Parked)):
                await self._until_moved(_LAST_LOOK)
            if self._worker is not None:
                self._worker.stop()

    async def _settings(self) -> Settings:
        """Return what all workers agree on; the first one decides."""
        while True:
            kept = await self._ledger.find(SETTINGS, Settings)
            if kept is not None:
                break
            after = self._options.after
            position = await self._store.head() if isinstance(after, LogEnd) else after
            await self._ledger.save(SETTINGS, Settings(self._options.partitions, position), 0)
        if kept.state.partitions != self._options.partitions:
            raise InvalidArgument(
                "partitions",
                self._options.partitions,
                f"consumer {self.name!r} was begun with {kept.state.partitions}: begin another one, under a new name",
            )
        if kept.state.replaced_by is not None:
            raise ConsumerReplaced(self.name, kept.state.replaced_by)
        return kept.state

    # --- Progress ------------------------------------------------------------------------------------------------

    async def status(self) -> ConsumerStatus:
        """Return how far it has come, who works on it, and how fast."""
        head = await self._store.head()
        settings = await self._ledger.find(SETTINGS, Settings)
        partitions = {kept.key: kept.state for kept in await self._ledger.all(PARTITION, Partition)}
        parked = len(await self._ledger.all(PARKED, Parked))
        if settings is None:
            after = self._options.after
            begun = Settings(self._options.partitions, head if isinstance(after, LogEnd) else after)
        else:
            begun = settings.state
        return consumer_status(self.name, head, begun, partitions, parked)

    async def lag(self) -> int:
        """Return how many positions it is behind the head of the log; 0 when it has caught up."""
        return (await self.status()).lag

    async def wait_until(self, position: int) -> None:
        """Return when every event up to a position was handled or parked, by whichever process."""
        check_integer("position", position, 0)
        pause = _FIRST_LOOK
        while (await self.status()).position < position:
            await self._until_moved(pause)
            pause = min(2 * pause, _LAST_LOOK)

    async def reset(self, to: int | LogEnd = 0) -> None:
        """Have everything after a position handled again, or skip to it (`END`: to the end).

        Parked events beyond it are forgotten: they come again. Workers may go on meanwhile: what they have in hand does
        not count any more.
        """
        position = await self._store.head() if isinstance(to, LogEnd) else to
        check_integer("to", position, 0)
        await self._change(
            SETTINGS, Settings, lambda state: msgspec.structs.replace(state, after=position, replaced_by=None)
        )
        for kept in await self._ledger.all(PARTITION, Partition):
            await self._change(kept.key, Partition, lambda state: Partition(position, handled=state.handled))
        for parked in await self._ledger.all(PARKED, Parked):
            if parked.state.position > position:
                await self._ledger.remove(parked.key, parked.version)

    async def _change(self, key: str, kind: type[StateT], change: Callable[[StateT], StateT]) -> None:
        while True:
            kept = await self._ledger.find(key, kind)
            if kept is None or await self._ledger.save(key, change(kept.state), kept.version):
                return

    # --- Parked events -------------------------------------------------------------------------------------------

    async def parked(self) -> list[ParkedEvent]:
        """Return the events that were set aside, in the order of the log within each partition."""
        found = []
        for kept in await self._ledger.all(PARKED, Parked):
            parked = kept.state
            page = await self._store._log_page(parked.position - 1, 1, Direction.FORWARD, None)
            event = next((event for event in page.events if event.global_position == parked.position), None)
            found.append(
                ParkedEvent(
                    event,
                    parked.position,
                    parked.stream_id,
                    parked.state,
                    parked.attempts,
                    parked.error,
                    parked.parked_at,
                )
            )
        return found

    async def replay(self, position: int | None = None) -> int:
        """Have a parked event handled again, or all that failed (None); return how many.

        The workers do it, once each: a second or so later, or when one runs next. Where later events of the stream wait
        behind it, they follow in order if it succeeds.
        """
        return await self._for_parked(
            position,
            lambda kept: self._ledger.save(kept.key, msgspec.structs.replace(kept.state, state=REPLAY), kept.version),
        )

    async def discard(self, position: int | None = None) -> int:
        """Forget a parked event, or all that failed (None); return how many. Those that waited behind it follow."""
        return await self._for_parked(position, lambda kept: self._ledger.remove(kept.key, kept.version))

    async def _for_parked(self, position: int | None, do: Callable[[Kept[Parked]], Awaitable[bool]]) -> int:
        if position is not None:
            check_integer("position", position, 1)
        count = 0
        for kept in await self._ledger.all(PARKED, Parked):
            chosen = kept.state.state == "failed" if position is None else kept.state.position == position
            count += chosen and await do(kept)
        return count

    # --- Taking another consumer's place -------------------------------------------------------------------------

    async def _switch_over(self) -> None:
        """Once caught up with the consumer that it replaces: switch, in one transaction that ends the other."""
        is_done = self._replaces is None
        while not is_done:
            try:
                is_done = await self._try_to_switch(str(self._replaces))
            except (StoreUnavailable, TransactionConflict) as error:
                _log.warning("consumer %s: could not switch over yet: %s", self.name, error)
            if not is_done:
                await self._until_moved(_LAST_LOOK)

    async def _try_to_switch(self, replaced: str) -> bool:
        if (await self.status()).lag > 0:
            return False
        with suppress(_NotYet):
            async with self._store.transaction() as tx:
                await self._switch(replaced, tx)
            return True
        return False

    async def _switch(self, replaced: str, tx: StoreTransaction) -> None:
        old, new = Ledger(replaced, tx._session), self._ledger.within(tx._session)
        settings = await old.find(SETTINGS, Settings)
        if settings is None or settings.state.replaced_by is not None:
            return
        # Its workers wait for the end of this, and find then that the partitions are no longer theirs.
        reached = 0
        for kept in await old.all(PARTITION, Partition):
            reached = max(reached, kept.state.position)
            if not await old.save(kept.key, msgspec.structs.replace(kept.state, worker=None), kept.version):
                raise _NotYet
        ours = [kept.state.position for kept in await new.all(PARTITION, Partition)]
        if len(ours) < self._options.partitions or min(ours) < reached:
            raise _NotYet
        if not await old.save(
            SETTINGS, msgspec.structs.replace(settings.state, replaced_by=self.name), settings.version
        ):
            raise _NotYet
        if self._on_switch is not None:
            await self._on_switch(tx)

    async def _until_moved(self, seconds: float) -> None:
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()


class _NotYet(Exception):
    """The consumer to be replaced is ahead."""


def consumer_status(
    name: str, head: int, settings: Settings, partitions: dict[str, Partition], parked: int
) -> ConsumerStatus:
    """Make a status of what is kept."""
    states = [
        (number, partitions.get(partition_key(number), Partition(settings.after)))
        for number in range(settings.partitions)
    ]
    return ConsumerStatus(
        name,
        head,
        tuple(
            PartitionStatus(number, state.position, state.worker, state.attempts, state.handled, state.rate)
            for number, state in states
        ),
        parked,
        settings.replaced_by,
    )


async def all_consumers(store: EventStore) -> AsyncIterator[ConsumerStatus]:
    """Yield the status of every consumer that has begun."""
    head = await store.head()
    async for name, _, _, settings in entries_of(StoreEntries(store), None, SETTINGS, Settings):
        ledger = Ledger(name, StoreEntries(store))
        partitions = {kept.key: kept.state for kept in await ledger.all(PARTITION, Partition)}
        yield consumer_status(name, head, settings, partitions, len(await ledger.all(PARKED, Parked)))

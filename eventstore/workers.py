"""One process's share of a consumer: its sign of life, the partitions that it takes, and those that it gives up.

A worker is alive while its entry, or that of one of its partitions, changes. Whoever has seen neither change for the
length of a lease, by its own clock, takes the partitions over; no two clocks are compared. The former worker's saves
fail from then on, and by then it has itself stopped working if it could not save its sign of life for so long.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from contextlib import suppress
from typing import Final
from uuid import uuid4

from eventstore.cancellation import uninterrupted
from eventstore.errors import ConsumerReplaced, EventStoreError, HandlerFailed, StoreUnavailable, TransactionConflict
from eventstore.ledger import (
    PARTITION,
    SETTINGS,
    WORKER,
    Kept,
    Partition,
    Settings,
    WorkerEntry,
    partition_key,
)
from eventstore.partitions import LeaseLost, PartitionWorker, Work

_log: Final = logging.getLogger("eventstore")

_BEATS: Final = 4
"""Signs of life in the time of a lease."""

_PAUSE: Final = 0.2
"""Seconds before a partition is taken up again that the database was lost for."""


class Worker:
    """The worker of one run of a consumer."""

    def __init__(self, work: Work, settings: Settings) -> None:
        host = socket.gethostname().encode("ascii", "replace").decode()
        self.id = f"{host[:60]}/{os.getpid()}/{uuid4().hex[:12]}"
        self._work = work
        self._settings = settings
        self._lease = work.options.lease
        self._beats = 0
        self._watchdog: asyncio.TimerHandle | None = None
        self._running: dict[int, tuple[PartitionWorker, asyncio.Task[None]]] = {}
        self._not_before: dict[int, float] = {}
        self._seen: dict[str, tuple[object, float]] = {}
        self._looked_at = 0.0
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Those in which handlers run."""
        return {task for _, task in self._running.values()}

    def stop(self) -> None:
        """Ask it to finish what it has in hand, and to end."""
        self._stopping.set()
        self._wake.set()
        for partition, _ in self._running.values():
            partition.stop()

    async def run(self) -> None:
        """Work until told to stop. Raises `HandlerFailed` where the consumer is to stop, and `ConsumerReplaced`."""
        try:
            while not self._stopping.is_set():
                await self._beat()
                with suppress(TimeoutError):
                    # Who waits for the database, or for the end of another's transaction, beats no more.
                    async with asyncio.timeout(self._lease / _BEATS):
                        await self._take_share()
                await self._until_next_beat()
                self._collect()
        except HandlerFailed:
            raise
        except BaseException:
            self._abandon()
            raise
        finally:
            await self._leave()

    def _abandon(self) -> None:
        for task in self.tasks:
            task.cancel()

    async def _leave(self) -> None:
        """Let the partitions finish what they have in hand; a cancellation meanwhile abandons that."""
        for partition, _ in self._running.values():
            partition.stop()
        try:
            left = self.tasks
            while left:
                # What is still in hand needs its lease.
                _, left = await asyncio.wait(left, timeout=self._lease / _BEATS)
                if left:
                    await self._beat()
        finally:
            self._abandon()
            await uninterrupted(self._sign_off())

    async def _sign_off(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        # Why a partition ended now does not matter any more: the next worker meets it again.
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with suppress(EventStoreError, TimeoutError):
            # For longer than a lease there is nothing to sign off from.
            async with asyncio.timeout(self._lease):
                # Looked up, since a beat may have been cancelled.
                kept = await self._work.ledger.find(f"{WORKER}{self.id}", WorkerEntry)
                if kept is not None:
                    await self._work.ledger.remove(kept.key, kept.version)

    # --- Signs of life -------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        began = time.monotonic()
        try:
            # A beat that comes too late is as good as none.
            async with asyncio.timeout(self._lease / 2):
                if not await self._work.ledger.save(f"{WORKER}{self.id}", WorkerEntry(self._beats + 1), self._beats):
                    await self._begin_again()
                else:
                    self._beats += 1
                    self._wind_up(began + self._lease * 3 / 4)
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("consumer %s: no sign of life could be saved: %r", self._work.ledger.name, error)
            await self._begin_again()

    def _wind_up(self, at: float) -> None:
        """Have the handlers cancelled then, unless there is another sign of life: somebody else takes over soon.

        A transaction needs no such care: its commit decides.
        """
        if self._watchdog is not None:
            self._watchdog.cancel()
        if not self._work.handling.exactly_once:
            delay = at - time.monotonic()
            self._watchdog = asyncio.get_running_loop().call_later(delay, self._abandon)

    async def _begin_again(self) -> None:
        """Find out how often it has beaten, after a save whose outcome is not known, or that somebody removed it."""
        with suppress(EventStoreError, TimeoutError):
            async with asyncio.timeout(self._lease / 2):
                kept = await self._work.ledger.find(f"{WORKER}{self.id}", WorkerEntry)
                self._beats = 0 if kept is None else kept.version

    # --- Partitions ----------------------------------------------------------------------------------------------

    async def _take_share(self) -> None:
        try:
            settings = await self._work.ledger.find(SETTINGS, Settings)
            if settings is not None and settings.state.replaced_by is not None:
                raise ConsumerReplaced(self._work.ledger.name, settings.state.replaced_by)
            workers = await self._work.ledger.all(WORKER, WorkerEntry)
            partitions = {kept.key: kept for kept in await self._work.ledger.all(PARTITION, Partition)}
            alive = self._alive(workers, list(partitions.values()))
            self._drop_lost(partitions)
            share = _share(self.id, alive, self._work.partitions)
            self._give_up(len(self._running) - share)
            for number in range(self._work.partitions):
                if len(self._running) >= share:
                    break
                if number not in self._running and time.monotonic() >= self._not_before.get(number, 0):
                    await self._take(number, partitions.get(partition_key(number)), alive)
            for dead in workers:
                if dead.key.removeprefix(WORKER) not in alive:
                    await self._work.ledger.remove(dead.key, dead.version)
        except StoreUnavailable as error:
            _log.warning("consumer %s: waits for the database: %s", self._work.ledger.name, error)

    def _alive(self, workers: list[Kept[WorkerEntry]], partitions: list[Kept[Partition]]) -> set[str]:
        now, before = time.monotonic(), self._looked_at
        self._looked_at = now
        signs: dict[str, list[object]] = {kept.key.removeprefix(WORKER): [kept.version] for kept in workers}
        for kept in partitions:
            if kept.state.worker is not None:
                # One without an entry has said that it leaves, or was found dead.
                signs.get(kept.state.worker, []).append((kept.key, kept.version))
        for worker, sign in signs.items():
            seen, _ = self._seen.get(worker, (None, now))
            # Who did not look for long, was frozen with all others say, cannot tell how long they were silent.
            if seen != sign or now - before > self._lease / 2:
                self._seen[worker] = (sign, now)
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in signs}
        return {worker for worker, (_, at) in self._seen.items() if now - at < self._lease} | {self.id}

    def _drop_lost(self, partitions: dict[str, Kept[Partition]]) -> None:
        """Cancel what is under way for partitions that were taken away: one that waits for events does not notice."""
        for number, (_, task) in self._running.items():
            kept = partitions.get(partition_key(number))
            if kept is None or kept.state.worker != self.id:
                task.cancel()

    def _give_up(self, surplus: int) -> None:
        for partition, _ in list(self._running.values())[: max(0, surplus)]:
            partition.stop()

    async def _take(self, number: int, kept: Kept[Partition] | None, alive: set[str]) -> None:
        state = Partition(self._settings.after) if kept is None else kept.state
        version = 0 if kept is None else kept.version
        if state.worker is not None and state.worker in alive and state.worker != self.id:
            return
        taken = Partition(state.position, self.id, state.attempts, state.handled, state.rate)
        key = partition_key(number)
        if not await self._work.ledger.save(key, taken, version):
            return
        was_dropped = state.worker is not None
        if was_dropped and state.worker != self.id:
            _log.warning("consumer %s: took partition %d over from %s", self._work.ledger.name, number, state.worker)
        partition = PartitionWorker(self._work, number, Kept(key, version + 1, taken), was_dropped=was_dropped)
        task = asyncio.create_task(partition.run(), name=f"eventstore {self._work.ledger.name} {number}")
        task.add_done_callback(lambda _: self._wake.set())
        self._running[number] = (partition, task)

    def _collect(self) -> None:
        """Take note of partitions that ended; raise why, if the consumer is to stop with it."""
        for number, (_, task) in list(self._running.items()):
            if not task.done():
                continue
            del self._running[number]
            if task.cancelled():
                continue
            error = task.exception()
            if error is None or isinstance(error, LeaseLost):
                continue
            if isinstance(error, (StoreUnavailable, TransactionConflict)):
                _log.warning("consumer %s: partition %d begins again: %s", self._work.ledger.name, number, error)
                self._not_before[number] = time.monotonic() + _PAUSE
                continue
            raise error

    async def _until_next_beat(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lease / _BEATS):
                await self._wake.wait()
        self._wake.clear()


def _share(worker: str, alive: set[str], partitions: int) -> int:
    """Return how many partitions are a worker's: as many as any other's, or one more."""
    each, left = divmod(partitions, len(alive))
    return each + (sorted(alive).index(worker) < left)

"""Working on one partition of a consumer: reading its events, handling them, moving its position, parking."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

import msgspec

from eventstore.backend import Direction
from eventstore.cancellation import uninterrupted
from eventstore.errors import EventStoreError, HandlerFailed
from eventstore.events import RecordedEvent
from eventstore.handlers import HandlerError, Handling
from eventstore.ledger import (
    FAILED,
    WAITING,
    Kept,
    Ledger,
    Parked,
    Partition,
    parked_key,
    parked_prefix,
)
from eventstore.policies import ConsumerOptions, OnError

if TYPE_CHECKING:
    from eventstore.store import EventStore

_log: Final = logging.getLogger("eventstore")

_BETWEEN_SAVES: Final = 0.1
"""Seconds between two saves of a position that only passes events of others."""

_LONGEST_PAUSE: Final = 1.0
"""Seconds after which a partition that waits for events looks whether any parked one is to be handled again."""

_LONGEST_ERROR: Final = 1_000


def partition_of(stream_id: str, partitions: int) -> int:
    """Return the partition of a stream, the same in every process and version."""
    return crc32(stream_id.encode()) % partitions


class LeaseLost(Exception):
    """Another worker has the partition, or was given it: nothing more may be done for it here."""


class Stopped(Exception):
    """The worker was asked to stop, and nothing is in hand."""


class Work(NamedTuple):
    """What the partitions of one worker share."""

    store: EventStore
    ledger: Ledger
    handling: Handling
    options: ConsumerOptions
    partitions: int
    moved: Callable[[], None]
    """Called whenever a position has moved."""


class PartitionWorker:
    """One partition, while this process has its lease."""

    def __init__(self, work: Work, number: int, kept: Kept[Partition], *, was_dropped: bool) -> None:
        """`was_dropped`: the last worker did not leave on its own; an event in its hands may have taken it down."""
        self.number = number
        self._work = work
        self._kept = kept
        self._stopping = asyncio.Event()
        self._careful_events = work.options.batch_size if was_dropped or kept.state.attempts else 0
        self._held: set[str] = set()
        self._parked_looked_at = 0.0
        self._saved_at = time.monotonic()
        self._window = (self._saved_at, kept.state.position)

    def stop(self) -> None:
        """Ask it to finish what it has in hand, and to give the partition back."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until told to stop; raise `LeaseLost`, or `HandlerFailed` where the consumer is to stop with it."""
        try:
            with suppress(Stopped):
                await self._follow()
        finally:
            await uninterrupted(self._give_back())

    async def _give_back(self) -> None:
        # Whoever finds the entry as it was left takes it for that of a worker that died.
        with suppress(LeaseLost, EventStoreError):
            await self._while_leased(self._save(worker=None))

    async def _while_leased(self, save: Awaitable[None]) -> None:
        """Save for the length of a lease: who waits behind another's transaction for longer has lost it by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._work.options.lease):
                await save

    # --- Reading -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        store, options = self._work.store, self._work.options
        start = self._kept.state.position
        while not self._stopping.is_set():
            await self._look_at_parked()
            page = await store._log_page(start, options.batch_size, Direction.FORWARD, options.filter)
            ours = await self._put_behind([event for event in page.events if self._is_ours(event)])
            if ours:
                await self._handle(ours, page.looked_to)
            elif page.looked_to > self._kept.state.position and self._may_save:
                await self._save(position=page.looked_to)
            start = page.looked_to
            if page.at_end:
                unsaved = start > self._kept.state.position
                await self._unless_stopped(store._wait(start, _BETWEEN_SAVES if unsaved else _LONGEST_PAUSE))

    def _is_ours(self, event: RecordedEvent) -> bool:
        return partition_of(event.stream_id, self._work.partitions) == self.number

    @property
    def _may_save(self) -> bool:
        return time.monotonic() - self._saved_at >= _BETWEEN_SAVES

    async def _unless_stopped(self, call: Awaitable[None]) -> None:
        waiting = asyncio.ensure_future(call)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise Stopped
            waiting.result()
        finally:
            for task in (waiting, stopping):
                task.cancel()
            await asyncio.wait([waiting, stopping])

    async def _pause(self, seconds: float) -> None:
        await self._unless_stopped(asyncio.sleep(seconds))

    # --- Handling ------------------------------------------------------------------------------------------------

    async def _handle(self, events: Sequence[RecordedEvent], looked_to: int) -> None:
        failed: HandlerError | None = None
        if not self._careful_events:
            try:
                await self._try(events, looked_to)
            except HandlerError as error:
                failed = error
            if failed is None:
                return
        left = [event for event in events if event.global_position > self._kept.state.position]
        # Which of several it was is not known yet, so none is blamed.
        is_first = failed is not None and failed.event is not None and failed.event.event_id == left[0].event_id
        await self._handle_one_by_one(left, looked_to, failed if is_first else None)

    async def _handle_one_by_one(
        self, events: Sequence[RecordedEvent], looked_to: int, failed: HandlerError | None = None
    ) -> None:
        """Handle events by themselves, each try counted before it is made: it may take the process down."""
        for number, event in enumerate(events, 1):
            position = looked_to if number == len(events) else event.global_position
            # It may have to wait behind one of these that was parked.
            if await self._put_behind([event]):
                await self._handle_patiently(event, position, failed)
            elif position > self._kept.state.position:
                await self._save(position=position, attempts=0)
            failed = None
            self._careful_events = max(0, self._careful_events - 1)

    async def _handle_patiently(self, event: RecordedEvent, position: int, failed: HandlerError | None) -> None:
        """Try an event as often as it may be, or what is left of that; then park it, or stop."""
        options = self._work.options
        if failed is not None:
            await self._save(attempts=self._kept.state.attempts + 1)
        left = options.retry.attempts - self._kept.state.attempts
        if left <= 0 and failed is None and options.on_error is OnError.STOP:
            left = 1  # Whoever starts it again wants it tried.
        if left > 0:
            if failed is not None:
                await self._pause(options.retry.first_wait)
            failed = await self._try_again_and_again(event, position, left)
            if failed is None:
                return
        cause = None if failed is None else failed.__cause__
        attempts = self._kept.state.attempts
        if options.on_error is OnError.STOP:
            raise HandlerFailed(self._work.ledger.name, event, attempts) from cause
        await self._park(event, FAILED, attempts, cause)
        await self._save(position=position, attempts=0)

    async def _try_again_and_again(self, event: RecordedEvent, position: int, times: int) -> HandlerError | None:
        """Return the last failure, or None when the event is handled."""
        # Imported when first needed: most processes never fail, and importing takes longer than all of ours.
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        policy = self._work.options.retry
        tries = AsyncRetrying(
            retry=retry_if_exception_type(HandlerError),
            stop=stop_after_attempt(times),
            wait=wait_random_exponential(multiplier=policy.first_wait, max=policy.longest_wait),
            sleep=self._pause,
            reraise=True,
        )
        try:
            async for attempt in tries:
                with attempt:
                    await self._save(attempts=self._kept.state.attempts + 1)
                    await self._try([event], position)
        except HandlerError as failure:
            return failure
        return None

    async def _try(self, events: Sequence[RecordedEvent], position: int) -> None:
        """Handle events and move the position, in one transaction if the handler takes it."""
        if self._work.handling.exactly_once:
            async with self._work.store.transaction() as tx:
                # First, so that whoever would take the partition over waits for the end of this.
                saved = await self._saved(self._work.ledger.within(tx._session), position=position, more=len(events))
                await self._work.handling(events, tx, _nothing)
            self._note(saved)
            return
        done: list[RecordedEvent] = []

        def note(event: RecordedEvent) -> None:
            done.append(event)
            if self._stopping.is_set() and event is not events[-1]:
                raise Stopped

        try:
            await self._work.handling(events, None, note)
        except BaseException:
            if done:
                save = self._save(position=done[-1].global_position, attempts=0, more=len(done))
                await uninterrupted(self._while_leased(save))
            raise
        await self._save(position=position, attempts=0, more=len(events))

    # --- Saving --------------------------------------------------------------------------------------------------

    async def _save(
        self,
        *,
        position: int | None = None,
        attempts: int | None = None,
        more: int = 0,
        worker: str | None = "",
    ) -> None:
        """Change the partition's entry, and nothing where another worker has changed it: then raise `LeaseLost`."""
        self._note(await self._saved(self._work.ledger, position, attempts, more, worker))

    async def _saved(
        self,
        ledger: Ledger,
        position: int | None = None,
        attempts: int | None = 0,
        more: int = 0,
        worker: str | None = "",
    ) -> Kept[Partition]:
        key, version, state = self._kept
        state = Partition(
            position=state.position if position is None else position,
            worker=state.worker if worker == "" else worker,
            attempts=state.attempts if attempts is None else attempts,
            handled=state.handled + more,
            rate=self._rate(state.position if position is None else position),
        )
        if not await ledger.save(key, state, version):
            raise LeaseLost
        return Kept(key, version + 1, state)

    def _note(self, kept: Kept[Partition]) -> None:
        self._kept = kept
        self._saved_at = time.monotonic()
        self._work.moved()

    def _rate(self, position: int) -> float:
        since, passed = self._window
        elapsed = time.monotonic() - since
        if elapsed < 1:
            return self._kept.state.rate
        self._window = (since + elapsed, position)
        return (position - passed) / elapsed

    # --- Parking -------------------------------------------------------------------------------------------------

    async def _park(self, event: RecordedEvent, state: str, attempts: int, cause: BaseException | None) -> None:
        holds = self._work.options.on_error is OnError.PARK_STREAM
        error = "" if state == WAITING else _description(cause)
        parked = Parked(
            event.global_position,
            event.stream_id,
            state,
            holds,
            attempts,
            error,
            datetime.now(UTC),
        )
        # It is there already if the process ended before the position had moved.
        await self._work.ledger.save(parked_key(self.number, event.global_position), parked, 0)
        if holds:
            self._held.add(event.stream_id)
        if state == FAILED:
            _log.warning("consumer %s: parked an event: %s", self._work.ledger.name, error, exc_info=cause)

    async def _put_behind(self, events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
        """Park what must wait behind a parked event of its stream; return the rest."""
        for event in events:
            if event.stream_id in self._held:
                await self._park(event, WAITING, 0, None)
        return [event for event in events if event.stream_id not in self._held]

    async def _look_at_parked(self) -> None:
        """Handle again what is to be, in the order of each stream; and learn which streams are held."""
        if time.monotonic() - self._parked_looked_at < _LONGEST_PAUSE and self._parked_looked_at:
            return
        held: set[str] = set()
        for parked in await self._work.ledger.all(parked_prefix(self.number), Parked):
            stream_id = parked.state.stream_id
            if stream_id not in held and parked.state.state != FAILED and await self._replay(parked):
                continue
            if parked.state.holds:
                held.add(stream_id)
        self._held = held
        self._parked_looked_at = time.monotonic()

    async def _replay(self, parked: Kept[Parked]) -> bool:
        """Handle a parked event; tell whether that is done with."""
        position = parked.state.position
        page = await self._work.store._log_page(position - 1, 1, Direction.FORWARD, None)
        events = [event for event in page.events if event.global_position == position]
        try:
            if events:
                await self._try_parked(events, parked)
            else:  # It was removed from the log meanwhile.
                await self._work.ledger.remove(parked.key, parked.version)
        except HandlerError as failure:
            again = msgspec.structs.replace(
                parked.state,
                state=FAILED,
                attempts=parked.state.attempts + 1,
                error=_description(failure.__cause__),
            )
            await self._work.ledger.save(parked.key, again, parked.version)
            return False
        return True

    async def _try_parked(self, events: Sequence[RecordedEvent], parked: Kept[Parked]) -> None:
        if self._work.handling.exactly_once:
            async with self._work.store.transaction() as tx:
                ledger = self._work.ledger.within(tx._session)
                saved = await self._saved(ledger, attempts=None, more=1)
                await ledger.remove(parked.key, parked.version)
                await self._work.handling(events, tx, _nothing)
            self._note(saved)
            return
        # Not without the lease.
        await self._save()
        await self._work.handling(events, None, _nothing)
        await self._save(more=1)
        await self._work.ledger.remove(parked.key, parked.version)


def _description(cause: BaseException | None) -> str:
    """Return what a handler raised, as text that can be kept; None: it took the process down."""
    if cause is None:
        return "the process ended while the event was handled"
    text = f"{type(cause).__name__}: {cause}".replace("\0", "")
    return text.encode("utf-8", "replace").decode()[:_LONGEST_ERROR]


def _nothing(event: RecordedEvent) -> None:
    """Nothing is done by itself inside a transaction."""

"""Mutants that lose events for those who follow the log, deliver them twice, or do not let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from eventstore import (
    CaughtUp,
    EventStore,
    FellBehind,
    Filter,
    NewEvent,
    RecordedEvent,
    StreamDeleted,
    Subscription,
)
from eventstore.backend import Direction, LogPage, Outcome, Transaction
from eventstore.subscriptions import Page, Source
from eventstore.watching import Look, Watch
from eventstore_conformance.observing import let_others_run
from eventstore_memory import MemoryBackend
from eventstore_memory.backend import MemoryTransaction
from eventstore_postgres import PostgresBackend
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import SharedMemory
from tests.conformance.mutants.worlds import InPostgres

# --- Waking up -------------------------------------------------------------------------------------------------------


@caught_by("SUB-05", "SUBSTREAM-05")
class LosesAWakeUp(MemoryBackend):
    """Wakes those who wait when something is appended, and not those who come to wait a moment later."""

    def __init__(self) -> None:
        super().__init__()
        self._appended = asyncio.Condition()

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        await let_others_run(3)
        return page

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        page = await super().read_stream(stream_id, start, limit, direction)
        await let_others_run(3)
        return page

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes = await super().append(transactions)
        async with self._appended:
            self._appended.notify_all()
        return outcomes

    async def wait(self, after: int, timeout: float) -> None:
        async with self._appended:
            await self._appended.wait()


class _WakesTheFirst(Watch):
    def _wake(self, head: int | None = None) -> None:
        waiting = self._waiting
        self._waiting = dict(list(waiting.items())[:1])
        super()._wake(head)
        self._waiting = waiting


@caught_by("SUB-15")
class WakesTheFirst(MemoryBackend):
    """Wakes one of those who wait: the others get an event when somebody else does not want it."""

    def __init__(self) -> None:
        super().__init__()
        self._watch = _WakesTheFirst(self._look)


@caught_by("SUB-19")
class WakesItsOwn(SharedMemory):
    """Wakes those who wait in this process, and has no poll beneath for what others append."""

    async def _look(self) -> Look:
        return Look(self._state.head)


@caught_by("SUB-20")
class WakesNobodyForATransaction(MemoryBackend):
    """Wakes those who wait after an append, and not when a transaction commits."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction() as session:
            nudge, self._watch.nudge = self._watch.nudge, lambda: None  # type: ignore[method-assign]
            yield session
        self._watch.nudge = nudge  # type: ignore[method-assign]


@caught_by("SUB-13")
class ClosesAndTellsNobody(MemoryBackend):
    """Closes, and leaves those waiting who wait."""

    async def close(self) -> None:
        """Do nothing."""


@caught_by("SUB-12")
class LeaksATask(MemoryBackend):
    """Starts a task for everybody who waits, and leaves it behind."""

    def __init__(self) -> None:
        super().__init__()
        self._left: list[asyncio.Task[bool]] = []

    async def wait(self, after: int, timeout: float) -> None:
        self._left.append(asyncio.create_task(asyncio.Event().wait()))
        await super().wait(after, timeout)


class _NotifyLost(PostgresBackend):
    def __init__(self, conninfo: str, **options: Any) -> None:
        options["poll_interval"] = 3600.0
        super().__init__(conninfo, **options)
        self._notifications.tell = lambda: None  # type: ignore[method-assign]


@caught_by("SUB-19")
class LosesNotifications(InPostgres):
    """Relies on NOTIFY alone: one is lost, and what it would have told of is not delivered."""

    kind = _NotifyLost


# --- The seam --------------------------------------------------------------------------------------------------------


@caught_by("SUB-05", "SUB-06")
class LosesWhatComesDuringTheSwitch(MemoryBackend):
    """Begins to listen where the log ends when it has read all there was, not where it has read to."""

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        await let_others_run(3)
        if direction is Direction.FORWARD and page.at_end:
            page = msgspec.structs.replace(page, looked_to=max(page.looked_to, self._state.head))
        return page


class _Source(EventStore):
    """A store whose subscriptions read otherwise."""

    def subscribe(self, **arguments: Any) -> Subscription:
        events = super().subscribe(**arguments)
        events._source = self.changed(events._source)
        return events

    def subscribe_stream(self, stream_id: str, **arguments: Any) -> Subscription:
        events = super().subscribe_stream(stream_id, **arguments)
        events._source = self.changed(events._source)
        return events

    def changed(self, source: Source) -> Source:
        """Return the broken one."""
        raise NotImplementedError


@caught_by("SUB-01", "SUB-05", "SUBSTREAM-05")
class DoublesAtTheSeam(_Source):
    """Goes live with the last event that it has read, and delivers that again."""

    def changed(self, source: Source) -> Source:
        is_live = False

        async def read(start: int) -> Page:
            nonlocal is_live
            page = await source.read(start - 1 if is_live else start)
            is_live = page.at_end
            return page

        return source._replace(read=read)


@caught_by("SUB-01", "SUBSTREAM-01")
class DeliversPagesBackward(_Source):
    """Delivers the events of a page from the newest on."""

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            page = await source.read(start)
            return page._replace(events=page.events[::-1])

        return source._replace(read=read)


@caught_by("SUB-01", "SUBSTREAM-01")
class EndsWithTheFirstPage(_Source):
    """Reads one page, and takes it for all there is."""

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            return (await source.read(start))._replace(at_end=True, is_full=False)

        async def wait(start: int) -> None:
            await asyncio.Event().wait()

        return source._replace(read=read, wait=wait)


@caught_by("SUB-02", "SUBSTREAM-02")
class BeginsOneTooLate(_Source):
    """Takes the first event wanted for the last one seen."""

    def changed(self, source: Source) -> Source:
        async def begin() -> int:
            start = await source.begin()
            return start + 1

        return source._replace(begin=begin)


@caught_by("SUB-04")
class BeginsAnEmptyLogAtOne(_Source):
    """Takes the end of an empty log for the first position: the first event is behind it."""

    def changed(self, source: Source) -> Source:
        async def begin() -> int:
            return await source.begin() or 1

        return source._replace(begin=begin)


@caught_by("SUB-03", "SUBSTREAM-03")
class BeginsAtTheBeginning(_Source):
    """Takes `END` for the beginning."""

    def changed(self, source: Source) -> Source:
        async def begin() -> int:
            return 1 if await source.begin() > 1 else await source.begin()

        return source._replace(begin=begin)


class _Unbegun(Subscription):
    async def begin(self) -> None:
        """Do nothing."""


@caught_by("SUB-03", "SUBSTREAM-03")
class BeginsWhenItLikes(_Source):
    """Begins with the first event that is asked for, whatever `begin` says."""

    def subscribe(self, **arguments: Any) -> Subscription:
        return _Unbegun(super().subscribe(**arguments)._source)

    def subscribe_stream(self, stream_id: str, **arguments: Any) -> Subscription:
        return _Unbegun(super().subscribe_stream(stream_id, **arguments)._source)

    def changed(self, source: Source) -> Source:
        return source


@caught_by("SUB-08")
class StaysAtTheLastMatch(_Source):
    """Has looked no further than to the last event that matched."""

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            page = await source.read(start)
            return page._replace(next_start=page.events[-1].global_position if page.events else start)

        return source._replace(read=read)


@caught_by("SUB-07")
class FiltersWhatIsThere(_Source):
    """Filters while it catches up, and delivers everything when it is live."""

    def subscribe(self, *, filter: Filter | None = None, **arguments: Any) -> Subscription:
        filtered, all_of_it = (EventStore.subscribe(self, filter=which, **arguments) for which in (filter, None))
        source = filtered._source
        is_live = False

        async def read(start: int) -> Page:
            nonlocal is_live
            page = await (all_of_it if is_live else filtered)._source.read(start)
            is_live = page.at_end
            return page

        return Subscription(source._replace(read=read))


# --- Signals, leaving, sharing ---------------------------------------------------------------------------------------


class _Changed(EventStore):
    """A store whose subscriptions are of another kind."""

    kind: type[Subscription]

    def subscribe(self, **arguments: Any) -> Subscription:
        return self.kind(super().subscribe(**arguments)._source)

    def subscribe_stream(self, stream_id: str, **arguments: Any) -> Subscription:
        return self.kind(super().subscribe_stream(stream_id, **arguments)._source)


class _SaysSoEachTime(Subscription):
    async def _next(self) -> RecordedEvent | CaughtUp | FellBehind:
        if self._at_end and not self._page:
            self._is_live = not self._is_live
        return await super()._next()


@caught_by("SUB-09", "SUBSTREAM-06")
class SaysSoEachTime(_Changed):
    """Signals that it has caught up after every event that comes."""

    kind = _SaysSoEachTime


class _NeverBehind(Subscription):
    async def _next(self) -> RecordedEvent | CaughtUp | FellBehind:
        found = await super()._next()
        return await self._next() if isinstance(found, FellBehind) else found


@caught_by("SUB-10", "SUBSTREAM-06")
class NeverFallsBehind(_Changed):
    """Does not tell that it has fallen behind."""

    kind = _NeverBehind


class _HandsOverSlowly(Subscription):
    async def _next(self) -> RecordedEvent | CaughtUp | FellBehind:
        found = await super()._next()
        await let_others_run(2)
        return found


@caught_by("SUB-11")
class LosesWhatItHandsOver(_Changed):
    """Takes an event from its page and then waits for something: a cancellation meanwhile loses the event."""

    kind = _HandsOverSlowly


class _Once(Subscription):
    _failed = False

    async def _next(self) -> RecordedEvent | CaughtUp | FellBehind:
        if self._failed:
            raise StopAsyncIteration
        try:
            return await super()._next()
        except BaseException:
            self._failed = True
            raise


@caught_by("SUB-11", "SUB-14")
class IsOverAfterAnError(_Changed):
    """Is over after an error or a cancellation, as a generator is."""

    kind = _Once


class _Shared(Subscription):
    _one_at_a_time: Any

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._one_at_a_time = _NoLock()


class _NoLock:
    async def __aenter__(self) -> None:
        """Let everybody in."""

    async def __aexit__(self, *_: object) -> None:
        """Let everybody out."""


@caught_by("SUB-17")
class GivesEachTaskAll(_Changed):
    """Reads for each of the tasks that share it: each gets the same event."""

    kind = _Shared


@caught_by("SUB-16")
class WaitsForTheSlowest(EventStore):
    """Lets writers wait until every subscriber has taken what it was handed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._subscriptions: list[Subscription] = []

    def subscribe(self, **arguments: Any) -> Subscription:
        self._subscriptions.append(super().subscribe(**arguments))
        return self._subscriptions[-1]

    async def append(self, stream_id: str, events: Sequence[NewEvent], *, expected_version: Any) -> list[RecordedEvent]:
        while any(events._page for events in self._subscriptions):  # noqa: ASYNC110 - as a writer would that polls
            await asyncio.sleep(0.01)
        return await super().append(stream_id, events, expected_version=expected_version)


@caught_by("SUB-18")
class HandsOutOneCopy(_Source):
    """Reads each page once for all subscribers: what one does to an event's data, all see."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pages: dict[int, Page] = {}

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            page = await source.read(start)
            if page.events:
                page = self._pages.setdefault(start, page)
            return page

        return source._replace(read=read)


@caught_by("SUB-22")
class CountsOn(_Source):
    """Waits for the next number: positions that were removed hold it up."""

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            page = await source.read(start)
            run = [event for number, event in enumerate(page.events, start + 1) if event.global_position == number]
            return page._replace(events=run, next_start=start + len(run), at_end=not run, is_full=False)

        return source._replace(read=read)


# --- Arguments -------------------------------------------------------------------------------------------------------


@caught_by("SUB-23", "SUB-24", "SUBSTREAM-11", "SUBSTREAM-12")
class ChecksWhenItReads(EventStore):
    """Looks at its arguments when it reads: whoever makes the mistake hears of it elsewhere."""

    def subscribe(self, **arguments: Any) -> Subscription:
        return _late(lambda: super(ChecksWhenItReads, self).subscribe(**arguments))

    def subscribe_stream(self, stream_id: str, **arguments: Any) -> Subscription:
        return _late(lambda: super(ChecksWhenItReads, self).subscribe_stream(stream_id, **arguments))


def _late(make: Callable[[], Subscription]) -> Subscription:
    def source() -> Source:
        return make()._source

    async def begin() -> int:
        return await source().begin()

    return Subscription(Source(begin, lambda start: source().read(start), lambda start: source().wait(start)))


# --- Streams ---------------------------------------------------------------------------------------------------------


@caught_by("SUBSTREAM-01", "SUBSTREAM-10")
class FollowsAPrefix(EventStore):
    """Follows a stream as what begins with its id: other streams join in."""

    def subscribe_stream(self, stream_id: str, **arguments: Any) -> Subscription:
        events = super().subscribe_stream(stream_id, **arguments)
        return self.subscribe(filter=Filter(stream_id_prefix=stream_id)) if arguments == {} else events


@caught_by("SUBSTREAM-07", "SUBSTREAM-08")
class WaitsForTheDeleted(_Source):
    """Waits on for the events of a stream that was deleted."""

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            try:
                return await source.read(start)
            except StreamDeleted:
                return Page([], start, at_end=True, is_full=False)

        async def wait(start: int) -> None:
            await _or_never(source.wait(start))

        return source._replace(read=read, wait=wait)


async def _or_never(call: Awaitable[None]) -> None:
    try:
        await call
    except StreamDeleted:
        await asyncio.Event().wait()


@caught_by("SUBSTREAM-04")
class FollowsWhatIsThere(_Source):
    """Refuses to follow a stream that does not exist yet."""

    def subscribe_stream(self, stream_id: str, **arguments: Any) -> Subscription:
        self.stream_id = stream_id
        return super().subscribe_stream(stream_id, **arguments)

    def changed(self, source: Source) -> Source:
        async def begin() -> int:
            if not await self.stream_version(self.stream_id):
                raise StreamDeleted(self.stream_id)
            return await source.begin()

        return source._replace(begin=begin)


@caught_by("SUBSTREAM-09")
class ExpectsTheNextVersion(_Source):
    """Waits for the next version: those that were truncated never come."""

    def changed(self, source: Source) -> Source:
        async def read(start: int) -> Page:
            page = await source.read(start)
            if page.events and page.events[0].version > start:
                return Page([], start, at_end=True, is_full=False)
            return page

        return source._replace(read=read)

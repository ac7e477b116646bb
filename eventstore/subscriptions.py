"""Subscriptions: reading a log or a stream to its end, and then whatever is appended, as it comes.

A subscription holds one page of events at most and nothing else: no task, no connection. So whoever stops iterating may
just go, and a slow reader slows its own reading alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Final, NamedTuple, Self, TypeAlias

import msgspec

from eventstore.events import RecordedEvent

LONGEST_WAIT: Final = 60.0
"""Seconds after which a subscription reads again whatever its backend says; the backend has a quicker poll beneath."""


class LogEnd(Enum):
    """The one constant that names no position."""

    END = "END"

    def __repr__(self) -> str:
        return self.value


END: Final = LogEnd.END
"""Where the log ends when a subscription begins: only what is appended from then on."""


class CaughtUp(msgspec.Struct, frozen=True):
    """The subscription has handed out all there was; from now on events come as they are appended."""


class FellBehind(msgspec.Struct, frozen=True):
    """The subscription was caught up, and now more than a page of events is waiting for it."""


Signal: TypeAlias = CaughtUp | FellBehind


class Page(NamedTuple):
    """What one read has found; where the next one begins; whether there was nothing more for now."""

    events: list[RecordedEvent]
    next_start: int
    at_end: bool
    is_full: bool


class Source(NamedTuple):
    """What a subscription reads: from where on, page by page, and how to wait where a page was the last.

    `check` raises where it must not be read.
    """

    begin: Callable[[], Awaitable[int]]
    read: Callable[[int], Awaitable[Page]]
    wait: Callable[[int], Awaitable[None]]
    check: Callable[[], None] = lambda: None


class Subscription(AsyncIterator[RecordedEvent]):
    """Every event after the start, once and in order, for ever; made by `EventStore.subscribe` and `subscribe_stream`.

    Iterate over it for events, or over `with_signals()` for what becomes of the reader as well. An error does not end
    it: iterating again, after `StoreUnavailable` say, goes on where it was. Several tasks may share one; each event
    goes to one of them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._start: int | None = None
        self._page: deque[RecordedEvent] = deque()
        self._at_end = False
        self._is_live = False
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Decide where `END` is, now and not when the first event is asked for; of other starts nothing changes."""
        async with self._one_at_a_time:
            await self._begin()

    @property
    def is_caught_up(self) -> bool:
        """Whether all there was when it was last looked at has been handed out."""
        return self._is_live and not self._page

    @property
    def looked_to(self) -> int | None:
        """How far it has looked: a bookmark for `after`, once the events handed out are dealt with.

        It is beyond the last event where a filter has left out what follows. None while a page is being handed out, and
        before the first one was read: then the last event's `global_position` is the bookmark.
        """
        return None if self._page else self._start

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordedEvent:
        """Return the next event, waiting for it if need be."""
        while True:
            found = await self._next()
            if isinstance(found, RecordedEvent):
                return found

    def with_signals(self) -> AsyncIterator[RecordedEvent | Signal]:
        """Return an iterator over the events, with a `CaughtUp` or `FellBehind` between them at each transition."""
        return _WithSignals(self._next)

    async def _next(self) -> RecordedEvent | Signal:
        if self._one_at_a_time.locked():
            # In another event loop it would wait for ever.
            self._source.check()
        async with self._one_at_a_time:
            start = await self._begin()
            while not self._page:
                if self._at_end and not self._is_live:
                    self._is_live = True
                    return CaughtUp()
                if self._at_end:
                    await self._source.wait(start)
                page = await self._source.read(start)
                self._page.extend(page.events)
                self._start = start = page.next_start
                self._at_end = page.at_end
                if self._is_live and page.is_full and not page.at_end:
                    self._is_live = False
                    return FellBehind()
            return self._page.popleft()

    async def _begin(self) -> int:
        if self._start is None:
            self._start = await self._source.begin()
        return self._start


class _WithSignals(AsyncIterator[RecordedEvent | Signal]):
    # No generator: that would be over after an error or a cancellation.

    def __init__(self, next: Callable[[], Awaitable[RecordedEvent | Signal]]) -> None:
        self._next = next

    async def __anext__(self) -> RecordedEvent | Signal:
        return await self._next()

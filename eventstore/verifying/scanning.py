"""Reading all that a store has, page by page, and stepping over what cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from eventstore.backend import Backend, Checkpoint, Direction, EncodedSnapshot, Entry, LogPage, Place, StreamInfo
from eventstore.errors import StoreNotOpen, StoreUnavailable
from eventstore.events import RecordedEvent
from eventstore.progress import Progress, ProgressCallback
from eventstore.retries import Call
from eventstore.verifying.records import Findings, Problem, ProblemKind

T = TypeVar("T")
K = TypeVar("K")

_EVENTS: Final = 1_000
"""A page of the log or of places: fewer take longer, more keep the event loop and its other tasks waiting."""

_STREAMS: Final = 500
_NAMES: Final = 100

_SNAPSHOTS: Final = 50
"""Each may have a megabyte."""

LOOKS_AT_HEAD: Final = 5
"""How often the head is asked for, while appends in flight hold it back, before something is taken to be beyond it."""

MOST_UNREADABLE: Final = 1_000
"""After so many events that cannot be read, the rest of the log is left alone."""

_LIST_OF_STREAMS: Final = "the list of streams"
_PLACES: Final = "the events by stream"
_COMPARED: Final = frozenset({_LIST_OF_STREAMS, _PLACES})

PASSING: Final = (StoreUnavailable, StoreNotOpen)
"""What ends a verification: it says nothing of what is stored."""


class Scan:
    """The reads of one verification, and what it has found."""

    def __init__(
        self, backend: Backend, call: Call, findings: Findings, progress: ProgressCallback | None, step: int = _EVENTS
    ) -> None:
        self.backend = backend
        self.call = call
        self.findings = findings
        self.head = 0
        self.read_to = 0
        """How far the log was read, the last time."""

        self.unreadable: set[int] = set()
        """The positions of events that cannot be read."""

        self.is_whole = True
        """Whether the log and the streams could be read to their end, but for those events."""

        self.failures = 0
        """How often a list was read no further than to something that cannot be read."""

        self._given_up: set[str] = set()
        self._progress = progress
        self._most_events = step

    def report(self, kind: ProblemKind, detail: str, **place: Any) -> None:
        """Note a problem."""
        self.findings.add(Problem(kind, detail, **place))

    def tell(self, step: str, done: int, total: int) -> None:
        """Tell how far a step has come."""
        if self._progress is not None:
            self._progress(Progress(step, done, total))

    async def read_all(self, start: int | None, limit: int, direction: Direction) -> LogPage | Exception:
        """Return a page of the log, or why it cannot be read."""
        try:
            return await self.call(self.backend.read_all, start, limit, direction, None)
        except PASSING:
            raise
        except Exception as error:  # Whatever a decoder says of what it was given.
            return error

    # --- The log -------------------------------------------------------------------------------------------------

    async def log(self, step: str) -> AsyncIterator[list[RecordedEvent]]:
        """Yield the log up to the head, without the events that cannot be read."""
        self.read_to, limit = 0, self._most_events
        is_end = False
        while (start := self.read_to) < self.head:
            page = await self.read_all(start, limit, Direction.FORWARD)
            # An engine in memory lets nobody else run.
            await asyncio.sleep(0)
            if isinstance(page, LogPage):
                if not page.events and (page.at_end or page.looked_to <= start):
                    if not is_end and not await self._is_still_settled():
                        return
                    # Read once more: it is settled now, if it was not when the page was read.
                    self.read_to, is_end = (self.head if is_end else start), True
                else:
                    # A head that was lost would keep `looked_to` back.
                    self.read_to = max([page.looked_to, *(event.global_position for event in page.events[-1:])])
                limit = min(2 * limit, self._most_events)
                self.tell(step, min(self.read_to, self.head), self.head)
                yield [event for event in page.events if event.global_position <= self.head]
            elif limit > 1:
                # What lies before the one that cannot be read still can.
                limit = max(1, limit // 8)
            else:
                position = await self._position_after(start)
                if not self._may_go_on(position, page):
                    return
                self.read_to = position

    async def _is_still_settled(self) -> bool:
        """Tell whether the log can be read up to the head; after a fail-over, appends in flight may hide its end."""
        for _ in range(LOOKS_AT_HEAD):
            if await self.call(self.backend.head) >= self.head:
                return True
        self._give_up_log("the log ends before the head that it had; appends in flight may hide it")
        return False

    async def _position_after(self, start: int) -> int:
        """Return the position of the event after one, which cannot be read; or one beyond the head."""
        reach = 1
        while start + reach <= self.head and not await self._is_any(start, start + reach):
            reach *= 2
        low, high = start + reach // 2, start + reach  # above `low`, and at `high` or below
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if await self._is_any(start, middle) else (middle, high)
        return high

    async def _is_any(self, above: int, up_to: int) -> bool:
        page = await self.read_all(up_to + 1, 1, Direction.BACKWARD)
        return isinstance(page, Exception) or any(event.global_position > above for event in page.events)

    def _may_go_on(self, position: int, error: Exception) -> bool:
        """Report that an event cannot be read, once, and tell whether to read on after it."""
        if position in self.unreadable:
            return True
        what = f"{type(error).__name__}: {error}"
        if position > self.head or len(self.unreadable) == MOST_UNREADABLE:
            self._give_up_log(f"the rest of the log was not read: {what}")
            return False
        self.report(ProblemKind.UNREADABLE, what, global_position=position)
        self.unreadable.add(position)
        return True

    def _give_up_log(self, why: str) -> None:
        if "the log" not in self._given_up:
            self._given_up.add("the log")
            self.report(ProblemKind.NOT_LOOKED_AT, why, global_position=self.read_to)
        self.is_whole = False

    # --- All the rest --------------------------------------------------------------------------------------------

    def streams(self) -> AsyncIterator[StreamInfo]:
        """Yield all streams by id."""

        async def page(after: str | None, limit: int) -> list[StreamInfo]:
            return await self.backend.list_streams(None, None, after, limit, include_deleted=True)

        return self._pages(_LIST_OF_STREAMS, page, lambda info: info.stream_id, _STREAMS)

    def places(self, after: tuple[str, int] | None = None, limit: int | None = None) -> AsyncIterator[Place]:
        """Yield the places of events by stream and version."""
        limit = limit or self._most_events
        return self._pages(_PLACES, self.backend.list_places, _stream_and_version, limit, after)

    def snapshots(self) -> AsyncIterator[EncodedSnapshot]:
        """Yield all snapshots by stream id."""
        return self._pages("snapshots", self.backend.list_snapshots, lambda snapshot: snapshot.stream_id, _SNAPSHOTS)

    def checkpoints(self) -> AsyncIterator[Checkpoint]:
        """Yield all checkpoints."""
        return self._pages("checkpoints", self.backend.list_checkpoints, lambda kept: kept.name, _NAMES)

    def entries(self) -> AsyncIterator[Entry]:
        """Yield all that consumers keep."""

        async def page(after: tuple[str, str] | None, limit: int) -> list[Entry]:
            return await self.backend.list_entries(None, "", after, limit)

        return self._pages("what consumers keep", page, lambda entry: (entry.name, entry.key), _NAMES)

    async def _pages(
        self,
        what: str,
        page_after: Callable[[K | None, int], Awaitable[list[T]]],
        key: Callable[[T], K],
        limit: int,
        after: K | None = None,
    ) -> AsyncIterator[T]:
        while True:
            try:
                page = await self.call(page_after, after, limit)
            except PASSING:
                raise
            except Exception as error:
                if limit > 1:
                    limit = max(1, limit // 8)
                    continue
                self.failures += 1
                self.is_whole = self.is_whole and what not in _COMPARED
                if what not in self._given_up:
                    self._given_up.add(what)
                    self.report(ProblemKind.UNREADABLE, f"{what}, after {after!a}: {type(error).__name__}: {error}")
                return
            await asyncio.sleep(0)
            for item in page:
                yield item
            if len(page) < limit:
                return
            after = key(page[-1])


def _stream_and_version(place: Place) -> tuple[str, int]:
    return place.stream_id, place.version

"""Mutants that read other events than those asked for, or in another order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from eventstore import ANY, EventStore, Filter, NewEvent, RecordedEvent, StorageError, StreamDeleted
from eventstore.backend import Direction, LogPage, Outcome, StreamInfo, Transaction
from eventstore_memory import MemoryBackend
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState

# --- Pages -----------------------------------------------------------------------------------------------------------


@caught_by("READ-01")
class EndsAtAFullPage(EventStore):
    """Takes a page that is full for the last one: a stream seems to end there."""

    def read_stream(self, stream_id: str, **options: Any) -> AsyncIterator[RecordedEvent]:
        limit = min(self._limits.page_size, options.pop("limit", None) or self._limits.page_size)
        return super().read_stream(stream_id, limit=limit, **options)


@caught_by("READ-01", "READ-06")
class RepeatsTheLastOfAPage(CarelessState):
    """Begins a page at the last event seen instead of behind it (`>=` where `>` was meant)."""

    def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        behind = start is not None and start > 1 and direction is Direction.FORWARD
        return super().read_stream(stream_id, start - 1 if behind and start else start, limit, direction)


@caught_by("LOG-08")
class OrdersPagesByTime(EventStore):
    """Reads what was appended meanwhile first, as a page that is sorted by the newest has it."""

    async def _read_all(
        self, after: int, before: int | None, filter: Filter | None, limit: int | None, direction: Direction
    ) -> AsyncIterator[RecordedEvent]:
        begun_at = await self.head()
        async for event in super()._read_all(after, before, filter, limit, direction):
            if direction is Direction.FORWARD and event.global_position == begun_at < await self.head():
                continue
            yield event


@caught_by("READ-08")
class CountsToTheNextPage(EventStore):
    """Continues by counting what it has seen (`OFFSET`), not after what it saw last: a truncation hides events."""

    async def _read_forward(
        self, stream_id: str, start: int, last: int | None, limit: int | None
    ) -> AsyncIterator[RecordedEvent]:
        seen = 0
        while True:
            whole = await self._stream_page(stream_id, start, 20_000, Direction.FORWARD)
            within = [event for event in whole if last is None or event.version <= last][:limit]
            page = within[seen : seen + self._limits.page_size]
            for event in page:
                yield event
            if len(page) < self._limits.page_size:
                return
            seen += len(page)


@caught_by("READ-04", "LOG-05")
class LimitsThePageOnly(EventStore):
    """Hands the limit on to each page: a reader gets so many events a page, not in all."""

    def read_stream(self, stream_id: str, **options: Any) -> AsyncIterator[RecordedEvent]:
        limit = options.pop("limit", None)
        return super().read_stream(stream_id, limit=limit and limit + limit // self._limits.page_size, **options)

    def read_all(self, **options: Any) -> AsyncIterator[RecordedEvent]:
        limit = options.pop("limit", None)
        return super().read_all(limit=limit and limit + limit // self._limits.page_size, **options)


@caught_by("READ-04", "LOG-05")
class TakesNoEventForNoLimit(EventStore):
    """Reads everything when asked for zero events (`if limit` where `is not None` was meant)."""

    def read_stream(self, stream_id: str, **options: Any) -> AsyncIterator[RecordedEvent]:
        limit = options.pop("limit", None) or None
        return super().read_stream(stream_id, limit=limit, **options)

    def read_all(self, **options: Any) -> AsyncIterator[RecordedEvent]:
        limit = options.pop("limit", None) or None
        return super().read_all(limit=limit, **options)


# --- Bounds and directions -------------------------------------------------------------------------------------------


@caught_by("READ-03")
class ReadsUpToTheBound(EventStore):
    """Takes `to_version` for exclusive, as Python's ranges are."""

    def read_stream(self, stream_id: str, **options: Any) -> AsyncIterator[RecordedEvent]:
        last = options.pop("to_version", None)
        return super().read_stream(stream_id, to_version=last if not last else last - 1, **options)


@caught_by("READ-02", "READ-03", "READ-04")
class ReversesPagesOnly(CarelessState):
    """Reads the page and then turns it round: backward begins at the first event."""

    def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        page = super().read_stream(stream_id, start, limit, Direction.FORWARD)
        return page[::-1] if page and direction is Direction.BACKWARD else page


@caught_by("READ-07")
class CountsBackwardFromTheEnd(EventStore):
    """Finds each page backward by counting from the end, which appends move away meanwhile."""

    async def _read_backward(
        self, stream_id: str, first: int, start: int | None, limit: int | None
    ) -> AsyncIterator[RecordedEvent]:
        seen = 0
        while True:
            whole = await self._stream_page(stream_id, start, 200, Direction.BACKWARD)
            page = [event for event in whole if event.version >= first][seen : self._page(limit) + seen]
            for event in page:
                yield event
            seen += len(page)
            if len(page) < self._limits.page_size or seen == limit or page[-1].version == first:
                return


@caught_by("LOG-03", "LOG-04", "LOG-05")
class SortsTheLogByStreams(CarelessState):
    """Reads the log backward stream by stream, as an index on streams has it."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = super().read_all(start, limit, direction, filter)
        if direction is Direction.FORWARD:
            return page
        return LogPage(sorted(page.events, key=lambda event: event.stream_id), page.looked_to, page.at_end)


@caught_by("LOG-04", "LOG-07")
class IncludesTheBookmark(CarelessState):
    """Begins at the bookmark instead of above it: the event that was seen last is seen again."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        forward = direction is Direction.FORWARD and start
        return super().read_all(start - 1 if forward and start else start, limit, direction, filter)


@caught_by("LOG-06", "LOG-07")
class StumblesOverHoles(CarelessState):
    """Looks for the event at the next position, and takes it for the end of the log if there is none."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = super().read_all(start, limit, direction, filter)
        run = [
            event
            for number, event in enumerate(page.events)
            if direction is Direction.BACKWARD
            or filter is not None
            or event.global_position == page.events[0].global_position + number
        ]
        return page if len(run) == len(page.events) else LogPage(run, run[-1].global_position, at_end=True)


# --- What is not there -----------------------------------------------------------------------------------------------


@caught_by("READ-05", "TRUNCATE-04")
class MakesAStreamOfAQuestion(CarelessState):
    """Makes a stream when somebody asks for it, as a dictionary with a default does."""

    def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        self._stream_to_write(stream_id)
        return super().read_stream(stream_id, start, limit, direction)

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        self._stream_to_write(stream_id)
        return super().truncate_stream(stream_id, before_version)


@caught_by("READ-05")
class RaisesForAMissingStream(EventStore):
    """Raises for a stream that is not there, where the contract yields nothing."""

    async def _read_forward(
        self, stream_id: str, start: int, last: int | None, limit: int | None
    ) -> AsyncIterator[RecordedEvent]:
        if await self.stream_info(stream_id) is None:
            raise StreamDeleted(stream_id)
        async for event in super()._read_forward(stream_id, start, last, limit):
            yield event


@caught_by("LOG-02", "OPEN-01", "LIST-02")
class BeginsWithAnEventOfItsOwn(EventStore):
    """Writes a first event into every new store, about its schema say."""

    async def open(self) -> None:
        await super().open()
        if not await self.head():
            await self.append("system", [NewEvent("StoreCreated", {})], expected_version=ANY)


@caught_by("READ-09")
class LeavesAReadOpen(MemoryBackend):
    """Is locked from the first page of a reader to its last: one who stops early locks writers out for good."""

    is_read = False

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        page = await super().read_stream(stream_id, start, limit, direction)
        self.is_read = page is not None and len(page) == limit
        return page

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        if self.is_read:
            raise StorageError("database is locked")
        return await super().append(transactions)


@caught_by("READ-10", "READ-11", "LOG-09", "LIST-13", "FILTER-14")
class ClampsWhatIsOutOfRange(EventStore):
    """Makes bounds and limits fit instead of refusing them, and passes over what is no filter."""

    def read_stream(self, stream_id: str, **options: Any) -> AsyncIterator[RecordedEvent]:
        return super().read_stream(stream_id, **{name: _clamped(value, name) for name, value in options.items()})

    def read_all(self, **options: Any) -> AsyncIterator[RecordedEvent]:
        return super().read_all(**{name: _clamped(value, name) for name, value in options.items()})

    def list_streams(self, **options: Any) -> AsyncIterator[StreamInfo]:
        return super().list_streams(**{name: _clamped(value, name) for name, value in options.items()})


def _clamped(value: Any, name: str) -> Any:
    if name in ("from_version", "to_version", "after", "before", "limit") and not isinstance(value, str):
        lowest = 1 if name == "from_version" else 0
        return max(lowest, int(value)) if isinstance(value, (int, float)) and value == value else lowest
    if name == "filter" and not isinstance(value, Filter):
        return None
    return value

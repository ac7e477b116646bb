"""Observing a store from outside: what it holds, and that a refused call changed none of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar

from eventstore import EventStore, RecordedEvent, StreamInfo

T = TypeVar("T")


ENDLESS = 20_000
"""More than any test of the suite reads."""


async def ending(items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield the items, and fail where they do not end."""
    count = 0
    async for item in items:
        count += 1
        assert count < ENDLESS, f"{items!r} does not end; item {count} is {item}"
        yield item


async def collect(items: AsyncIterator[T]) -> list[T]:
    """Read to the end."""
    return [item async for item in ending(items)]


async def take(items: AsyncIterator[T], count: int) -> list[T]:
    """Return the next so many items of what does not end."""
    return [await anext(items) for _ in range(count)]


async def ids_in(streams: AsyncIterator[StreamInfo]) -> list[str]:
    """List streams to the end, and return their ids."""
    return [info.stream_id async for info in ending(streams)]


async def stream_of(store: EventStore, stream_id: str) -> list[RecordedEvent]:
    """Read a whole stream."""
    return await collect(store.read_stream(stream_id))


async def log_of(store: EventStore) -> list[RecordedEvent]:
    """Read the whole log."""
    return await collect(store.read_all())


async def streams_of(store: EventStore) -> list[StreamInfo]:
    """List all streams, deleted ones too."""
    return await collect(store.list_streams(include_deleted=True))


@asynccontextmanager
async def nothing_written(store: EventStore) -> AsyncIterator[None]:
    """Check that the log and all streams are after the block what they were before."""
    before = await log_of(store), await streams_of(store)
    yield
    assert (await log_of(store), await streams_of(store)) == before


def versions(events: Iterable[RecordedEvent]) -> list[int]:
    """Return the versions of events."""
    return [event.version for event in events]


def positions(events: Iterable[RecordedEvent]) -> list[int]:
    """Return the global positions of events."""
    return [event.global_position for event in events]


def is_growing(numbers: Sequence[int]) -> bool:
    """Tell whether each number is above the one before."""
    return all(low < high for low, high in pairwise(numbers))


def in_log_order(events: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """Sort events by global position."""
    return sorted(events, key=lambda event: event.global_position)


def same_json(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal, telling integers, floats and booleans apart."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


async def outcomes_of(*calls: Awaitable[T]) -> tuple[list[T], list[Exception]]:
    """Run calls at the same time; return what the successful ones returned, and what the others raised."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
    errors = [result for result in results if isinstance(result, Exception)]
    return [result for result in results if not isinstance(result, BaseException)], errors


async def let_others_run(turns: int = 1) -> None:
    """Give the event loop so many turns."""
    loop = asyncio.get_running_loop()
    for _ in range(turns):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


async def pass_time(seconds: float) -> None:
    """Let time pass: in the hands of a slow handler, or between two looks at what tells nobody."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    while not condition():
        await pass_time(0.002)

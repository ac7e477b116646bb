"""`read_all` reads the next page while one is used: one, and not before the second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from eventstore import ANY, Capability, EventStore, Filter, NewEvent, StoreUnavailable
from eventstore.backend import Direction, LogPage
from eventstore.operations import Limits
from eventstore_memory import MemoryBackend

pytestmark = pytest.mark.asyncio


class CountingMemory(MemoryBackend):
    """A store in memory that notes where pages began, and fails or waits at one of them."""

    capabilities = MemoryBackend.capabilities | {Capability.CONCURRENT_CALLS}

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[int | None] = []
        self.fails_at: int | None = None
        self.waits_at: int | None = None
        self.waits = asyncio.Event()

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        self.starts.append(start)
        if start == self.fails_at:
            raise StoreUnavailable("gone")
        if start == self.waits_at:
            self.waits.set()
            await asyncio.get_running_loop().create_future()
        return await super().read_all(start, limit, direction, filter)


@pytest.fixture
def backend() -> CountingMemory:
    return CountingMemory()


@pytest_asyncio.fixture
async def store(backend: CountingMemory) -> AsyncIterator[EventStore]:
    async with EventStore(backend, limits=Limits(page_size=10), retry_timeout=0) as store:
        await store.append("s-1", [NewEvent("E", {}) for _ in range(55)], expected_version=ANY)
        yield store


async def read(store: EventStore, events: int) -> None:
    """Read so many events and stop there, with whatever was begun ahead having gone as far as it gets."""
    reading = store.read_all()
    for _ in range(events):
        await anext(reading)
    await asyncio.sleep(0)
    await reading.aclose()  # type: ignore[attr-defined]  # it is an async generator


async def test_whoever_leaves_in_the_first_page_has_read_no_other(store: EventStore, backend: CountingMemory) -> None:
    await read(store, 10)
    assert backend.starts == [0]


async def test_while_a_later_page_is_used_the_next_is_read_and_no_more(
    store: EventStore, backend: CountingMemory
) -> None:
    await read(store, 11)
    assert backend.starts == [0, 10, 20]
    backend.starts.clear()
    await read(store, 20)
    assert backend.starts == [0, 10, 20]


async def test_where_calls_do_not_run_at_a_time_nothing_is_read_ahead(backend: CountingMemory) -> None:
    backend.capabilities = MemoryBackend.capabilities
    async with EventStore(backend, limits=Limits(page_size=10)) as store:
        await store.append("s-1", [NewEvent("E", {}) for _ in range(55)], expected_version=ANY)
        await read(store, 11)
    assert backend.starts == [0, 10]


async def test_nothing_is_read_beyond_a_limit_or_the_end(store: EventStore, backend: CountingMemory) -> None:
    assert len([event async for event in store.read_all(limit=30)]) == 30
    assert backend.starts == [0, 10, 20]
    backend.starts.clear()
    assert len([event async for event in store.read_all(before=31)]) == 30
    assert backend.starts == [0, 10, 20, 30]
    backend.starts.clear()
    assert len([event async for event in store.read_all()]) == 55
    assert backend.starts == [0, 10, 20, 30, 40, 50]


async def test_leaving_ends_what_was_begun(store: EventStore, backend: CountingMemory) -> None:
    backend.waits_at = 20
    tasks = asyncio.all_tasks()
    await read(store, 15)
    assert backend.starts == [0, 10, 20]
    assert asyncio.all_tasks() == tasks


async def test_a_page_that_cannot_be_read_fails_when_it_is_its_turn(store: EventStore, backend: CountingMemory) -> None:
    backend.fails_at = 20
    reading = store.read_all()
    assert [(await anext(reading)).version for _ in range(20)] == list(range(1, 21))
    with pytest.raises(StoreUnavailable):
        await anext(reading)


async def test_a_failure_ahead_of_whoever_leaves_is_nobodys(store: EventStore, backend: CountingMemory) -> None:
    backend.fails_at = 20
    await read(store, 15)


async def test_a_cancelled_reader_leaves_nothing_behind(store: EventStore, backend: CountingMemory) -> None:
    backend.waits_at = 20
    tasks = asyncio.all_tasks()

    async def read_on() -> None:
        async for _ in store.read_all():
            pass

    reader = asyncio.create_task(read_on())
    await backend.waits.wait()
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks

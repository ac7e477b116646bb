"""What a subscription holds, and when it reads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventstore import EventStore, Filter, InvalidArgument, NewEvent
from eventstore.backend import Direction, LogPage
from eventstore.operations import Limits
from eventstore_memory import MemoryBackend

pytestmark = pytest.mark.asyncio


class Counting(MemoryBackend):
    """Counts what is read and looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[int] = []

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        self.pages.append(len(page.events))
        return page


async def a_store(events: int) -> tuple[EventStore, Counting]:
    backend = Counting()
    store = EventStore(backend, limits=Limits(page_size=10))
    await store.open()
    for version in range(events):
        await store.append("log-1", [NewEvent("Happened", {})], expected_version=version)
    return store, backend


async def test_a_subscription_holds_one_page_at_most() -> None:
    store, backend = await a_store(95)
    events = store.subscribe()
    for number in range(95):
        await anext(events)
        assert len(backend.pages) == number // 10 + 1


async def test_a_subscription_that_waits_reads_nothing() -> None:
    store, backend = await a_store(5)
    events = store.subscribe()
    for _ in range(5):
        await anext(events)
    asked = asyncio.create_task(anext(events))
    for _ in range(50):
        await asyncio.sleep(0)
    assert backend.pages == [5]
    await store.append("log-1", [NewEvent("Happened", {})], expected_version=5)
    await asked
    assert backend.pages == [5, 1]
    await store.close()


async def test_the_bookmark_is_the_last_event_while_a_page_is_handed_out() -> None:
    store, _ = await a_store(3)
    events = store.subscribe()
    assert events.looked_to is None
    await anext(events)
    assert events.looked_to is None
    assert not events.is_caught_up
    await anext(events)
    last = await anext(events)
    assert events.looked_to == last.global_position


@pytest.mark.parametrize("bad", ["END", "end", None, True, -1, 1.0])
async def test_a_start_that_is_no_position_is_refused(bad: Any) -> None:
    store, _ = await a_store(0)
    with pytest.raises(InvalidArgument, match="after"):
        store.subscribe(after=bad)

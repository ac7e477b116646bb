"""Chapter Order: the log's order is one, for good. Positions are compared, never computed with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from eventstore import ANY, NO_STREAM, Capability, EventStore, Filter, RecordedEvent, StreamWrite, WrongExpectedVersion
from eventstore_conformance.chapter import Chapter, MakeStore, in_a_transaction
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import (
    collect,
    ending,
    in_log_order,
    is_growing,
    let_others_run,
    log_of,
    positions,
    stream_of,
)
from eventstore_conformance.outcomes import NotClaimed


async def truncate(store: EventStore) -> None:
    """Remove every event of a stream, keeping the stream."""
    await store.truncate_stream("gone-1", 99)


async def erase(store: EventStore) -> None:
    """Erase a stream."""
    await store.delete_stream("gone-1", expected_version=ANY, erase=True)


async def fail(store: EventStore) -> None:
    """Have appends refused."""
    for _ in range(3):
        with pytest.raises(WrongExpectedVersion):
            await store.append("gone-1", some_events(3), expected_version=NO_STREAM)


HOLES: list[Callable[[EventStore], Awaitable[None]]] = [truncate, erase, fail]


class Ordering(Chapter):
    """Positions and the head."""

    async def test_the_log_agrees_with_every_stream(self, store: EventStore) -> None:
        """ORDER-01: Restricted to one stream, the log is the stream."""
        for n in range(40):
            await store.append(f"s-{n % 7 % 4}", some_events(n % 3 + 1), expected_version=ANY)
        log = await log_of(store)
        assert len(log) == 79
        for stream_id in ("s-0", "s-1", "s-2", "s-3"):
            in_log = [event for event in log if event.stream_id == stream_id]
            assert in_log == await stream_of(store, stream_id)

    async def test_positions_grow_with_every_append(self, store: EventStore) -> None:
        """ORDER-02: An append that begins after another has returned gets higher positions, whatever the streams."""
        last = 0
        for n in range(20):
            recorded = await store.append(f"s-{(20 - n) % 7}", some_events(2), expected_version=ANY)
            assert is_growing([last, *positions(recorded)])
            last = recorded[-1].global_position

    @pytest.mark.parametrize("make_hole", HOLES, ids=lambda make_hole: make_hole.__name__)
    async def test_positions_are_never_used_twice(
        self, store: EventStore, make_hole: Callable[[EventStore], Awaitable[None]]
    ) -> None:
        """ORDER-03: The positions of events that were removed from the end of the log are not given out again."""
        await store.append("kept-1", some_events(2), expected_version=NO_STREAM)
        gone = await store.append("gone-1", some_events(5), expected_version=NO_STREAM)
        await make_hole(store)
        new = await store.append("kept-1", some_events(2), expected_version=2)
        assert is_growing(positions([*gone, *new]))

    @pytest.mark.parametrize("make_hole", HOLES, ids=lambda make_hole: make_hole.__name__)
    async def test_positions_are_never_used_twice_after_reopening(
        self, make_store: MakeStore, reopen: MakeStore, make_hole: Callable[[EventStore], Awaitable[None]]
    ) -> None:
        """ORDER-04: A durable store opened again goes on above every position it gave out."""
        async with make_store() as store:
            durable = Capability.DURABLE in store.capabilities
            gone = await store.append("gone-1", some_events(5), expected_version=NO_STREAM)
            await make_hole(store)
            head = await store.head()
        async with reopen() as store:
            if not durable:
                raise NotClaimed(Capability.DURABLE, works=await store.head() > 0)
            assert await store.head() >= head
            new = await store.append("kept-1", some_events(2), expected_version=NO_STREAM)
            assert is_growing(positions([*gone, *new]))

    @in_a_transaction
    async def test_positions_of_a_transaction_rolled_back_are_never_seen_again(self, store: EventStore) -> None:
        """ORDER-05: The positions that a rolled-back transaction was told are void: nobody is told them again."""
        await store.append("kept-1", some_events(1), expected_version=NO_STREAM)
        rolled_back: list[RecordedEvent] = []
        with suppress(ZeroDivisionError):
            async with store.transaction() as tx:
                rolled_back = await tx.append("gone-1", some_events(5), expected_version=NO_STREAM)
                raise ZeroDivisionError
        assert len(rolled_back) == 5
        new = await store.append("kept-1", some_events(10), expected_version=1)
        assert set(positions(new)).isdisjoint(positions(rolled_back))
        assert [event.stream_id for event in await log_of(store)] == ["kept-1"] * 11

    async def test_the_head_is_the_last_position_once_all_is_quiet(self, store: EventStore) -> None:
        """ORDER-06: When no append is in flight, the head is the position of the last event appended."""
        for n in range(5):
            recorded = await store.append(f"s-{n}", some_events(2), expected_version=NO_STREAM)
            assert await store.head() == recorded[-1].global_position

    @pytest.mark.parametrize("make_hole", HOLES, ids=lambda make_hole: make_hole.__name__)
    async def test_the_head_never_decreases(
        self, store: EventStore, make_hole: Callable[[EventStore], Awaitable[None]]
    ) -> None:
        """ORDER-07: The head stays or grows, also when the last events of the log are removed."""
        heads = [await store.head()]
        for stream_id in ("kept-1", "gone-1"):
            await store.append(stream_id, some_events(3), expected_version=NO_STREAM)
            heads.append(await store.head())
        await make_hole(store)
        heads.append(await store.head())
        await store.append("kept-1", some_events(1), expected_version=3)
        heads.append(await store.head())
        assert heads == sorted(heads)
        assert heads[-1] > heads[-2]

    async def test_the_head_is_a_bookmark(self, store: EventStore) -> None:
        """ORDER-08: Nothing lies above the head, and what is appended next does."""
        await store.append("s-1", some_events(5), expected_version=NO_STREAM)
        head = await store.head()
        assert await collect(store.read_all(after=head)) == []
        recorded = await store.append("s-1", some_events(2), expected_version=5)
        assert await collect(store.read_all(after=head)) == recorded

    # --- The log never hides an event ----------------------------------------------------------------------------

    async def test_a_follower_misses_nothing(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """ORDER-09: A reader that bookmarks what it saw last gets each event of concurrent appenders once, in order."""
        seen, appended = await follow_while_appending(*two_stores, None)
        assert seen == in_log_order(appended)

    async def test_a_filtered_follower_misses_nothing(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """ORDER-10: The same holds for a reader that sees a part of the log only."""
        even = Filter(stream_types=["even"])
        seen, appended = await follow_while_appending(*two_stores, even)
        assert seen == [event for event in in_log_order(appended) if even.matches(event)]
        assert seen

    async def test_what_was_read_below_the_head_never_changes(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """ORDER-11: Whoever reads up to the head reads the same up to there ever after."""
        store, second = two_stores
        appenders = asyncio.ensure_future(append_from_many_tasks(store))
        prefixes: list[list[RecordedEvent]] = []
        while not appenders.done():
            head = await second.head()
            prefixes.append([event async for event in ending(second.read_all()) if event.global_position <= head])
            await let_others_run()
        await appenders
        log = await log_of(second)
        for prefix in prefixes:
            assert prefix == log[: len(prefix)]

    async def test_stores_that_append_in_turn_agree_on_the_order(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """ORDER-12: Through whichever store an event is appended, it comes after all that was acknowledged before."""
        appended: list[RecordedEvent] = []
        for n in range(20):
            appended += await two_stores[n % 2].append(f"s-{n % 3}", some_events(n % 4 + 1), expected_version=ANY)
            assert await two_stores[1 - n % 2].head() == appended[-1].global_position
        assert is_growing(positions(appended))
        for store in two_stores:
            assert await log_of(store) == appended


async def append_from_many_tasks(store: EventStore) -> list[RecordedEvent]:
    """Append from eight tasks at once, refused appends, several streams and batches among them; return the events."""
    appended: list[RecordedEvent] = []

    async def append(worker: int) -> None:
        stream_id = f"{'odd' if worker % 2 else 'even'}-{worker}"
        for n in range(12):
            appended.extend(await store.append(stream_id, some_events(n % 3 + 1), expected_version=ANY))
            if n % 4 == 0:
                with pytest.raises(WrongExpectedVersion):
                    await store.append(stream_id, some_events(2), expected_version=NO_STREAM)
            if n % 4 == 1:
                writes = [StreamWrite("even-shared", some_events(1), ANY), StreamWrite(stream_id, some_events(1), ANY)]
                for events in await store.append_many(writes):
                    appended.extend(events)
            await let_others_run(worker)

    await asyncio.gather(*map(append, range(8)))
    return appended


async def follow_while_appending(
    writing: EventStore, reading: EventStore, filter: Filter | None
) -> tuple[list[RecordedEvent], list[RecordedEvent]]:
    """Follow the log by bookmark until the appenders are done and it is read to the end; return seen and appended."""
    appenders = asyncio.ensure_future(append_from_many_tasks(writing))
    seen: list[RecordedEvent] = []
    bookmark = 0
    finished = False
    while not finished:
        finished = appenders.done()
        async for event in ending(reading.read_all(after=bookmark, filter=filter)):
            seen.append(event)
            bookmark = event.global_position
        await let_others_run()
    return seen, await appenders

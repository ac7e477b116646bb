"""Chapter Subscriptions: following the log from any place, for ever, without a loss or a double."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from eventstore import (
    ANY,
    END,
    NO_STREAM,
    CaughtUp,
    EventStore,
    FellBehind,
    Filter,
    InvalidArgument,
    RecordedEvent,
    StoreNotOpen,
)
from eventstore_conformance.chapter import Chapter, MakeStore, in_a_transaction
from eventstore_conformance.effort import EFFORT
from eventstore_conformance.faults import AWHILE
from eventstore_conformance.hooks import HoldCommit
from eventstore_conformance.in_flight import gets_done
from eventstore_conformance.making import BAD_COUNTS, an_event, some_events
from eventstore_conformance.observing import in_log_order, let_others_run, log_of, take
from eventstore_conformance.patience import opened
from eventstore_conformance.transactions import Undo

MOMENTS = 200 if EFFORT.thorough else 40
"""At so many moments of a switch from catching up to live an event is appended."""

MANY = 1_000


class Subscriptions(Chapter):
    """`subscribe`."""

    # --- Where it begins -----------------------------------------------------------------------------------------

    async def test_a_subscription_delivers_what_is_there_and_then_what_comes(
        self, small_pages_store: EventStore
    ) -> None:
        """SUB-01: Every event of the log is delivered once and in order: what is there, over pages, and what comes."""
        store = small_pages_store
        await store.append("old-1", some_events(5), expected_version=NO_STREAM)
        await store.append("old-2", some_events(3), expected_version=NO_STREAM)
        events = store.subscribe()
        received = await take(events, 8)
        for version in range(4):
            await store.append("new-1", [an_event()], expected_version=version)
            received += await take(events, 1)
        await store.append("new-2", some_events(10), expected_version=NO_STREAM)
        received += await take(events, 10)
        assert received == await log_of(store)

    async def test_a_subscription_begins_after_a_position(self, store: EventStore) -> None:
        """SUB-02: `after` is a bookmark: the first event delivered is the one behind it, there or still to come."""
        recorded = await store.append("old-1", some_events(4), expected_version=NO_STREAM)
        for number, event in enumerate(recorded, 1):
            assert await take(store.subscribe(after=event.global_position), 4 - number) == recorded[number:]
        late = store.subscribe(after=recorded[-1].global_position)
        new = await store.append("new-1", some_events(2), expected_version=NO_STREAM)
        assert await take(late, 2) == new

    async def test_a_subscription_may_begin_at_the_end(self, store: EventStore) -> None:
        """SUB-03: With `after=END` only new events are delivered: those after `begin()`, or after the first call."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        begun = store.subscribe(after=END)
        await begun.begin()
        unbegun = store.subscribe(after=END)
        between = await store.append("new-1", some_events(2), expected_version=NO_STREAM)
        assert await take(begun, 2) == between
        first = asyncio.ensure_future(anext(unbegun))
        await gets_done(first)
        (last,) = await store.append("new-2", [an_event()], expected_version=NO_STREAM)
        assert await first == await anext(begun) == last

    async def test_a_subscription_to_an_empty_log_waits_for_the_first_event(self, store: EventStore) -> None:
        """SUB-04: From the beginning or from the end, an empty log is followed like any other."""
        subscriptions = [store.subscribe(after=after) for after in (0, END)]
        for events in subscriptions:
            await events.begin()
        waiting = [asyncio.ensure_future(anext(events)) for events in subscriptions]
        await gets_done(waiting[0])
        (first,) = await store.append("new-1", [an_event()], expected_version=NO_STREAM)
        assert await asyncio.gather(*waiting) == [first, first]

    # --- The seam ------------------------------------------------------------------------------------------------

    async def test_nothing_is_lost_or_doubled_at_the_seam(self, small_pages_store: EventStore) -> None:
        """SUB-05: What is appended at any moment of the switch from catching up to live is delivered, once."""
        store = small_pages_store
        tail = await store.append("log-1", some_events(5), expected_version=NO_STREAM)
        for turns in range(MOMENTS):
            events = store.subscribe(after=tail[-5].global_position)
            catching_up = asyncio.ensure_future(take(events, 4 + 2))
            await let_others_run(turns)
            tail += await store.append("log-1", some_events(2), expected_version=ANY)
            assert await catching_up == tail[-6:]
            tail += await store.append("log-1", some_events(1), expected_version=ANY)
            assert await anext(events) == tail[-1]

    async def test_subscribers_that_come_beside_writers_get_everything(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """SUB-06: Whenever a subscription begins, beside writers of several stores, it gets the whole log in order."""
        followers: list[asyncio.Future[list[RecordedEvent]]] = []
        count = 25

        async def write(number: int) -> None:
            store = two_stores[number % 2]
            for version in range(count):
                await store.append(f"log-{number}", [an_event()], expected_version=version)
                await let_others_run(number)
                if version % 5 == 0:
                    events = two_stores[version % 2].subscribe()
                    followers.append(asyncio.ensure_future(take(events, 4 * count)))

        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(write(number))
        received = await asyncio.gather(*followers)
        log = await log_of(two_stores[0])
        assert len(log) == 4 * count
        assert all(events == log for events in received)

    # --- Filters -------------------------------------------------------------------------------------------------

    async def test_a_filter_lets_through_what_matches(self, small_pages_store: EventStore) -> None:
        """SUB-07: With a filter only what matches is delivered, of what is there and of what comes."""
        store = small_pages_store
        for number in range(6):
            await store.append(f"cart-{number}", some_events(2), expected_version=NO_STREAM)
            await store.append(f"order-{number}", [an_event("Placed")], expected_version=NO_STREAM)
        events = store.subscribe(filter=Filter(stream_types=["order"], event_types=["Placed"]))
        received = await take(events, 6)
        asked = asyncio.ensure_future(anext(events))
        await gets_done(asked)
        await store.append("cart-9", [an_event("Placed")], expected_version=NO_STREAM)
        await store.append("order-9", [an_event("Placed"), an_event("Paid")], expected_version=NO_STREAM)
        received.append(await asked)
        log = await log_of(store)
        assert received == [event for event in log if (event.stream_type, event.event_type) == ("order", "Placed")]

    async def test_a_filter_moves_on(self, small_pages_store: EventStore) -> None:
        """SUB-08: `looked_to` passes what does not match, so that it can be saved: up to the end once caught up."""
        store = small_pages_store
        (wanted,) = await store.append("order-1", [an_event()], expected_version=NO_STREAM)
        others = await store.append("cart-1", some_events(10), expected_version=NO_STREAM)
        events = store.subscribe(filter=Filter(stream_types=["order"]))
        found = events.with_signals()
        assert await take(found, 2) == [wanted, CaughtUp()]
        assert events.is_caught_up
        assert events.looked_to == others[-1].global_position
        waiting = asyncio.ensure_future(anext(events))
        await store.append("cart-1", some_events(5), expected_version=10)
        (last,) = await store.append("order-1", [an_event()], expected_version=1)
        assert await waiting == last
        assert events.looked_to == last.global_position

    # --- Signals -------------------------------------------------------------------------------------------------

    async def test_caught_up_is_signalled_once(self, small_pages_store: EventStore) -> None:
        """SUB-09: `CaughtUp` comes once all there was is delivered, and not again while the reader keeps up."""
        store = small_pages_store
        recorded = await store.append("log-1", some_events(7), expected_version=NO_STREAM)
        events = store.subscribe()
        found = events.with_signals()
        assert not events.is_caught_up
        assert await take(found, 7) == recorded
        assert await anext(found) == CaughtUp()
        for version in range(7, 12):
            assert events.is_caught_up
            new = await store.append("log-1", [an_event()], expected_version=version)
            assert [await anext(found)] == new

    async def test_falling_behind_is_signalled_once(self, small_pages_store: EventStore) -> None:
        """SUB-10: More than a page at once is `FellBehind`, before its first event, and then `CaughtUp` again."""
        store = small_pages_store
        events = store.subscribe()
        found = events.with_signals()
        assert await anext(found) == CaughtUp()
        for version in (0, 10):
            recorded = await store.append("log-1", some_events(10), expected_version=version)
            received = await take(found, 12)
            assert received == [FellBehind(), *recorded, CaughtUp()]

    # --- Leaving -------------------------------------------------------------------------------------------------

    async def test_a_cancelled_wait_loses_nothing(self, store: EventStore) -> None:
        """SUB-11: Asking for an event may be cancelled at any moment: the next call delivers it."""
        events = store.subscribe()
        found = events.with_signals()
        assert await anext(found) == CaughtUp()
        for turns in range(MOMENTS):
            (new,) = await store.append("log-1", [an_event()], expected_version=turns)
            asked = asyncio.ensure_future(anext(found))
            await let_others_run(turns)
            asked.cancel()
            await asyncio.wait([asked])
            assert new == (await anext(found) if asked.cancelled() else asked.result())

    async def test_whoever_leaves_leaves_nothing_behind(self, store: EventStore) -> None:
        """SUB-12: Once a loop is left, or a wait cancelled, nothing goes on running for it; it need not be closed."""
        await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        before = asyncio.all_tasks()
        async for event in store.subscribe():
            if event.version == 3:
                break
        waiting = [asyncio.ensure_future(anext(store.subscribe(after=END))) for _ in range(5)]
        await gets_done(waiting[0])
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        while left := asyncio.all_tasks() - before:
            # Another may come soon, so an engine may linger for a moment.
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)

    async def test_closing_the_store_ends_its_subscriptions(self, make_store: MakeStore) -> None:
        """SUB-13: Who waits for an event when the store is closed gets `StoreNotOpen`, and so does who asks later."""
        before = asyncio.all_tasks()
        async with opened(make_store(), self.time_limit) as store:
            events = store.subscribe()
            waiting = [asyncio.ensure_future(anext(store.subscribe(after=END))) for _ in range(3)]
            waiting.append(asyncio.ensure_future(anext(events)))
            await gets_done(waiting[0])
        for waiter in waiting:
            with pytest.raises(StoreNotOpen):
                await waiter
        with pytest.raises(StoreNotOpen):
            await anext(events)
        assert asyncio.all_tasks() - before == set()

    async def test_a_store_that_is_not_open_has_no_subscriptions(self, make_store: MakeStore) -> None:
        """SUB-14: Iterating raises `StoreNotOpen` before the store is opened; the same subscription works after it."""
        store = make_store()
        events = store.subscribe()
        with pytest.raises(StoreNotOpen):
            await anext(events)
        async with opened(store, self.time_limit):
            (new,) = await store.append("log-1", [an_event()], expected_version=NO_STREAM)
            assert await anext(events) == new

    # --- Beside each other ---------------------------------------------------------------------------------------

    async def test_a_thousand_subscriptions_on_one_store(self, store: EventStore) -> None:
        """SUB-15: A thousand subscriptions, each from another place, all get what is theirs."""
        recorded = await store.append("log-1", some_events(10), expected_version=NO_STREAM)
        followers = [store.subscribe(after=recorded[number % 10].global_position) for number in range(MANY)]
        waiting = [asyncio.ensure_future(take(events, 12 - n % 10 - 1)) for n, events in enumerate(followers)]
        await let_others_run(3)
        recorded += await store.append("log-1", some_events(2), expected_version=10)
        for number, received in enumerate(await asyncio.gather(*waiting)):
            assert received == recorded[number % 10 + 1 :]

    async def test_a_slow_subscriber_hurts_no_other(self, small_pages_store: EventStore) -> None:
        """SUB-16: One that stops asking holds up neither writers nor other subscribers, and gets the rest later."""
        store = small_pages_store
        recorded = await store.append("log-1", some_events(5), expected_version=NO_STREAM)
        slow, quick = store.subscribe(), store.subscribe()
        assert await anext(slow) == recorded[0]
        assert await take(quick, 5) == recorded
        for version in range(5, 25):
            recorded += await store.append("log-1", [an_event()], expected_version=version)
            assert await anext(quick) == recorded[-1]
        assert await take(slow, 24) == recorded[1:]

    async def test_several_tasks_may_share_a_subscription(self, store: EventStore) -> None:
        """SUB-17: Each event goes to one of the tasks that ask for it."""
        events = store.subscribe()
        askers = [asyncio.ensure_future(anext(events)) for _ in range(10)]
        await let_others_run(5)
        recorded = await store.append("log-1", some_events(6), expected_version=NO_STREAM)
        await asyncio.wait(askers, return_when=asyncio.FIRST_COMPLETED)
        recorded += await store.append("log-1", some_events(4), expected_version=6)
        assert in_log_order(await asyncio.gather(*askers)) == recorded

    async def test_what_was_handed_out_is_the_subscribers_own(self, store: EventStore) -> None:
        """SUB-18: Subscribers that change what they were given change nothing for others."""
        first, second = store.subscribe(), store.subscribe()
        askers = [asyncio.ensure_future(anext(events)) for events in (first, second)]
        await let_others_run(5)
        (recorded,) = await store.append("log-1", [an_event(data={"n": [1]})], expected_version=NO_STREAM)
        (await askers[0]).data["n"].append("changed")
        recorded.data.clear()
        assert (await askers[1]).data == {"n": [1]}

    # --- Whoever appends, and however ----------------------------------------------------------------------------

    async def test_what_other_stores_append_is_delivered(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """SUB-19: A waiting subscriber gets what another store on the same database appends."""
        here, there = two_stores
        events = here.subscribe()
        for version in range(5):
            asked = asyncio.ensure_future(anext(events))
            if version % 2:
                await gets_done(asked)
            (new,) = await there.append("log-1", [an_event()], expected_version=version)
            assert await asked == new

    @in_a_transaction
    async def test_a_transaction_is_delivered_when_it_commits(self, store: EventStore) -> None:
        """SUB-20: A waiting subscriber gets a transaction's events once it has committed; of a rollback, nothing."""
        events = store.subscribe()
        asked = asyncio.ensure_future(anext(events))
        with suppress(Undo):
            async with store.transaction() as tx:
                await tx.append("undone-1", some_events(2), expected_version=NO_STREAM)
                raise Undo
        assert not await gets_done(asked)
        async with store.transaction() as tx:
            recorded = await tx.append("done-1", some_events(2), expected_version=NO_STREAM)
            recorded += await tx.append("done-2", some_events(1), expected_version=NO_STREAM)
            assert not await gets_done(asked)
        assert [await asked, *await take(events, 2)] == recorded

    async def test_an_append_in_flight_is_waited_for(
        self, two_stores: tuple[EventStore, EventStore], hold_commit: HoldCommit
    ) -> None:
        """SUB-21: A subscriber passes no position below which an append in flight may appear, and gets all of them."""
        store, _ = two_stores
        subscribers = [store.subscribe(), store.subscribe(filter=Filter(stream_types=["slow", "quick"]))]
        first = await store.append("quick-0", some_events(2), expected_version=NO_STREAM)
        waiting = [asyncio.ensure_future(take(events, 2 + 3 + 2)) for events in subscribers]
        async with hold_commit("slow-1", some_events(3)):
            quick = asyncio.ensure_future(store.append("quick-1", some_events(2), expected_version=NO_STREAM))
            await asyncio.wait([quick, *waiting], timeout=AWHILE)
        await quick
        log = await log_of(store)
        assert log[:2] == first
        assert len(log) == 7
        for received in await asyncio.gather(*waiting):
            assert received == log

    async def test_a_subscription_passes_what_was_removed(self, small_pages_store: EventStore) -> None:
        """SUB-22: The holes that truncated and erased events leave hold nobody up, nor does a deleted stream."""
        store = small_pages_store
        for number in range(4):
            await store.append(f"log-{number}", some_events(4), expected_version=NO_STREAM)
        events = store.subscribe()
        received = await take(events, 1)
        await store.truncate_stream("log-1", before_version=4)
        await store.delete_stream("log-2", expected_version=4, erase=True)
        await store.delete_stream("log-3", expected_version=4)
        last = await store.append("log-0", some_events(1), expected_version=4)
        # What it holds by now may be delivered still.
        while received[-1] != last[0]:
            received += await take(events, 1)
        log = await log_of(store)
        assert [event for event in received if event in log] == log
        assert await take(store.subscribe(), len(log)) == log

    # --- Bad arguments -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("bad", [None, *BAD_COUNTS], ids=repr)
    async def test_subscribing_after_what_is_no_position_is_refused(self, store: EventStore, bad: Any) -> None:
        """SUB-23: `after` is a position, from 0 on, or `END`; anything else raises `InvalidArgument` at once."""
        with pytest.raises(InvalidArgument):
            store.subscribe(after=bad)

    @pytest.mark.parametrize("bad", ["order", ["order"], {"stream_types": ["order"]}, 1], ids=repr)
    async def test_subscribing_with_what_is_no_filter_is_refused(self, store: EventStore, bad: Any) -> None:
        """SUB-24: `filter` is a `Filter` or None; anything else raises `InvalidArgument` at once."""
        with pytest.raises(InvalidArgument):
            store.subscribe(filter=bad)

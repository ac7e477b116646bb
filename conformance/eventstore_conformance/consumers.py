"""Chapter Consumers: a handler's way through the log, kept under a name, where the backend claims `CONSUMERS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from eventstore import (
    ANY,
    END,
    NO_STREAM,
    Capability,
    CapabilityNotSupported,
    Consumer,
    ConsumerReplaced,
    EventStore,
    Filter,
    InvalidArgument,
    NewEvent,
    OnError,
    RecordedEvent,
    StoreTransaction,
)
from eventstore_conformance.chapter import Chapter, MakeStore, where_claimed
from eventstore_conformance.making import BAD_COUNTS, BAD_NAMES, PECULIAR_NAMES, an_event, some_events
from eventstore_conformance.observing import collect, let_others_run, log_of, pass_time, stream_of, until
from eventstore_conformance.outcomes import NotClaimed
from eventstore_conformance.patience import opened


class Seen:
    """A handler that notes what it is given."""

    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self.batches: list[int] = []

    async def one(self, event: RecordedEvent) -> None:
        """Take one event."""
        self.events.append(event)

    async def batch(self, events: list[RecordedEvent]) -> None:
        """Take a batch."""
        self.batches.append(len(events))
        self.events += events

    async def until(self, count: int) -> None:
        """Return when so many have come."""
        await until(lambda: len(self.events) >= count)


async def handle_nothing(event: RecordedEvent) -> None:
    """Do nothing."""


async def make_a_consumer(store: EventStore) -> None:
    """Make a consumer, and do nothing with it."""
    store.consumer("reader", handle_nothing)


as_a_consumer = where_claimed(Capability.CONSUMERS, make_a_consumer)
"""For tests that need `store.consumer()`."""


def needs_transactions(store: EventStore) -> None:
    """Report *not claimed* where there are no transactions."""
    if Capability.TRANSACTIONS not in store.capabilities:
        raise NotClaimed(Capability.TRANSACTIONS)


@asynccontextmanager
async def running(*consumers: Consumer) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run consumers during the block, and stop them after it."""
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield tasks
        await asyncio.gather(*(consumer.stop() for consumer in consumers))
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def writing(output: str) -> Any:
    """Return a handler that appends an event for each that it is given, in its transaction."""

    async def write(event: RecordedEvent, tx: StoreTransaction) -> None:
        await tx.append(output, [NewEvent("Seen", {"position": event.global_position})], expected_version=ANY)

    return write


class Consumers(Chapter):
    """`consumer`: its progress."""

    @as_a_consumer
    async def test_a_consumer_handles_what_is_there_and_what_comes(self, store: EventStore) -> None:
        """CONSUMER-01: Every event of the log is handled once and in order: what is there, and what comes."""
        await store.append("old-1", some_events(25), expected_version=NO_STREAM)
        seen = Seen()
        async with running(store.consumer("reader", seen.one, batch_size=10)):
            await seen.until(25)
            for version in range(25, 30):
                await store.append("old-1", [an_event()], expected_version=version)
                await seen.until(version + 1)
        assert seen.events == await log_of(store)

    @as_a_consumer
    async def test_a_consumer_goes_on_where_it_was(self, store: EventStore) -> None:
        """CONSUMER-02: The progress is kept by name: who runs the consumer next begins behind what was handled."""
        recorded = await store.append("old-1", some_events(5), expected_version=NO_STREAM)
        first, second, other = Seen(), Seen(), Seen()
        await store.consumer("reader", first.one).run_until_caught_up()
        recorded += await store.append("old-1", some_events(5), expected_version=5)
        await store.consumer("reader", second.one).run_until_caught_up()
        await store.consumer("other", other.one).run_until_caught_up()
        assert (first.events, second.events, other.events) == (recorded[:5], recorded[5:], recorded)

    @as_a_consumer
    async def test_the_progress_is_kept_when_the_store_is_closed(self, store: EventStore, reopen: MakeStore) -> None:
        """CONSUMER-03: With `DURABLE` a consumer goes on where it was after the store was closed and opened again."""
        if Capability.DURABLE not in store.capabilities:
            raise NotClaimed(Capability.DURABLE)
        recorded = await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        await store.consumer("reader", handle_nothing).run_until_caught_up()
        await store.close()
        async with opened(reopen(), self.time_limit) as again:
            seen = Seen()
            recorded += await again.append("old-1", some_events(3), expected_version=3)
            await again.consumer("reader", seen.one).run_until_caught_up()
            assert seen.events == recorded[3:]

    @as_a_consumer
    async def test_a_batch_is_at_most_as_large_as_asked_for(self, store: EventStore) -> None:
        """CONSUMER-04: A handler that takes `events` gets them in order, up to `batch_size` at a time."""
        recorded = await store.append("old-1", some_events(25), expected_version=NO_STREAM)
        seen = Seen()
        await store.consumer("reader", seen.batch, batch_size=10).run_until_caught_up()
        assert seen.events == recorded
        assert seen.batches == [10, 10, 5]

    @as_a_consumer
    async def test_a_consumer_passes_what_its_filter_leaves_out(self, store: EventStore) -> None:
        """CONSUMER-05: With a filter only what matches is handled, and the position moves past the rest."""
        (wanted,) = await store.append("order-1", [an_event()], expected_version=NO_STREAM)
        others = await store.append("cart-1", some_events(10), expected_version=NO_STREAM)
        seen = Seen()
        consumer = store.consumer("reader", seen.one, filter=Filter(stream_types=["order"]), batch_size=3)
        await consumer.run_until_caught_up()
        assert seen.events == [wanted]
        assert (await consumer.status()).position >= others[-1].global_position
        assert await consumer.lag() == 0

    @as_a_consumer
    async def test_a_new_consumer_begins_where_it_is_told_to(self, store: EventStore) -> None:
        """CONSUMER-06: `after` is a position or `END`, for a consumer that is new; it does not move one that is not."""
        recorded = await store.append("old-1", some_events(5), expected_version=NO_STREAM)
        behind, ending = Seen(), Seen()
        await store.consumer("behind", behind.one, after=recorded[2].global_position).run_until_caught_up()
        await store.consumer("ending", ending.one, after=END).run_until_caught_up()
        assert (behind.events, ending.events) == (recorded[3:], [])
        recorded += await store.append("old-1", some_events(2), expected_version=5)
        await store.consumer("ending", ending.one, after=END).run_until_caught_up()
        await store.consumer("behind", behind.one, after=0).run_until_caught_up()
        assert (behind.events, ending.events) == (recorded[3:], recorded[5:])

    @as_a_consumer
    async def test_an_event_that_was_not_finished_comes_again(self, store: EventStore) -> None:
        """CONSUMER-07: At least once: a handler that is cancelled gets its event again, and none before it."""
        recorded = await store.append("old-1", some_events(5), expected_version=NO_STREAM)
        seen, begun = Seen(), asyncio.Event()

        async def hang(event: RecordedEvent) -> None:
            if event.version == 3:
                begun.set()
                await asyncio.Event().wait()
            seen.events.append(event)

        run = asyncio.create_task(store.consumer("reader", hang).run())
        await begun.wait()
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        await store.consumer("reader", seen.one).run_until_caught_up()
        assert seen.events == recorded

    @as_a_consumer
    async def test_a_batch_that_was_not_finished_comes_again(self, store: EventStore) -> None:
        """CONSUMER-08: At least once: a batch in hand when the consumer is cancelled is handled again."""
        recorded = await store.append("old-1", some_events(6), expected_version=NO_STREAM)
        seen, begun = Seen(), asyncio.Event()

        async def hang(events: list[RecordedEvent]) -> None:
            if events[0].version > 3:
                begun.set()
                await asyncio.Event().wait()
            seen.events += events

        run = asyncio.create_task(store.consumer("reader", hang, batch_size=3).run())
        await begun.wait()
        run.cancel()
        await asyncio.wait([run])
        await store.consumer("reader", seen.batch).run_until_caught_up()
        assert seen.events == recorded

    @as_a_consumer
    async def test_with_the_transaction_everything_happens_exactly_once(self, store: EventStore) -> None:
        """CONSUMER-09: What a handler does in `tx` commits with its progress, whenever the consumer is cancelled."""
        needs_transactions(store)
        recorded = await store.append("old-1", some_events(20), expected_version=NO_STREAM)
        write, of_old = writing("seen-1"), Filter(stream_types=["old"])

        async def hesitate(event: RecordedEvent, tx: StoreTransaction) -> None:
            await write(event, tx)
            await let_others_run()

        for number in range(20):
            run = asyncio.create_task(store.consumer("reader", hesitate, filter=of_old, batch_size=3).run())
            await pass_time(0.002 * number)
            run.cancel()
            await asyncio.wait([run])
        await store.consumer("reader", write, filter=of_old).run_until_caught_up()
        seen = [event.data["position"] for event in await stream_of(store, "seen-1")]
        assert seen == [event.global_position for event in recorded]

    @as_a_consumer
    async def test_a_handler_that_fails_rolls_its_transaction_back(self, store: EventStore) -> None:
        """CONSUMER-10: What a handler did in `tx` before it failed is undone, with its batch; then all come again."""
        needs_transactions(store)
        await store.append("old-1", some_events(5), expected_version=NO_STREAM)
        write = writing("seen-1")
        failed: list[RecordedEvent] = []

        async def fail_once(event: RecordedEvent, tx: StoreTransaction) -> None:
            await write(event, tx)
            if event.version == 3 and not failed:
                failed.append(event)
                raise ValueError("once")

        consumer = store.consumer("reader", fail_once, filter=Filter(stream_types=["old"]))
        await consumer.run_until_caught_up()
        assert [event.data["position"] for event in await stream_of(store, "seen-1")] == [
            event.global_position for event in await stream_of(store, "old-1")
        ]

    @as_a_consumer
    async def test_stopping_lets_the_event_in_hand_be_finished(self, store: EventStore) -> None:
        """CONSUMER-11: `stop()` returns when the event in hand is handled and its progress saved; `run()` returns."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        before, begun, finish, seen = asyncio.all_tasks(), asyncio.Event(), asyncio.Event(), Seen()

        async def handle(event: RecordedEvent) -> None:
            begun.set()
            await finish.wait()
            await seen.one(event)

        consumer = store.consumer("reader", handle)
        run = asyncio.create_task(consumer.run())
        await begun.wait()
        stop = asyncio.create_task(consumer.stop())
        await let_others_run()
        assert not stop.done()
        finish.set()
        await stop
        await run
        assert len(seen.events) == 1
        await store.consumer("reader", seen.one).run_until_caught_up()
        assert seen.events == await stream_of(store, "old-1")
        while left := asyncio.all_tasks() - before:
            # Another may come soon, so an engine may linger for a moment.
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)

    @as_a_consumer
    async def test_a_handler_may_stop_its_consumer(self, store: EventStore) -> None:
        """CONSUMER-12: `stop()` may be called by a handler: its event is the last one handled."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        seen = Seen()

        async def handle(event: RecordedEvent) -> None:
            await seen.one(event)
            if event.version == 2:
                await consumer.stop()

        consumer = store.consumer("reader", handle)
        await consumer.run()
        assert len(seen.events) == 2
        assert (await consumer.status()).position == seen.events[-1].global_position

    @as_a_consumer
    async def test_a_position_can_be_waited_for(self, store: EventStore) -> None:
        """CONSUMER-13: `wait_until` returns when all up to a position is handled, by whichever worker."""
        seen = Seen()
        consumer, onlooker = store.consumer("reader", seen.one), store.consumer("reader", handle_nothing)
        async with running(consumer):
            for version in range(0, 10, 2):
                recorded = await store.append("new-1", some_events(2), expected_version=version)
                await (consumer if version % 4 else onlooker).wait_until(recorded[-1].global_position)
                assert len(seen.events) == version + 2
            await store.append("new-1", some_events(2), expected_version=10)
            await consumer.wait_until(await store.head())
            assert await consumer.lag() == 0

    @as_a_consumer
    async def test_the_status_says_how_far_a_consumer_is(self, store: EventStore) -> None:
        """CONSUMER-14: `status` tells position, lag and worker; `consumers()` has that of all that have begun."""
        recorded = await store.append("old-1", some_events(4), expected_version=NO_STREAM)
        consumer = store.consumer("reader", handle_nothing)
        status = await consumer.status()
        assert (status.position, status.lag > 0, status.parked) == (0, True, 0)
        assert [status async for status in store.consumers()] == []
        async with running(consumer):
            await consumer.wait_until(recorded[-1].global_position)
            (partition,) = (await consumer.status()).partitions
            assert partition.worker is not None
        status = await consumer.status()
        assert (status.name, status.position, status.lag) == ("reader", await store.head(), 0)
        assert (status.seconds_left, status.replaced_by) == (0, None)
        assert [(partition.worker, partition.handled) for partition in status.partitions] == [(None, 4)]
        await store.consumer("second", handle_nothing, partitions=3).run_until_caught_up()
        found = {status.name: status async for status in store.consumers()}
        assert found["reader"] == status
        assert len(found["second"].partitions) == 3

    @as_a_consumer
    async def test_a_reset_has_events_handled_again(self, store: EventStore) -> None:
        """CONSUMER-15: `reset(to=…)` sends a consumer back behind a position, or forward to the end, running or not."""
        recorded = await store.append("old-1", some_events(6), expected_version=NO_STREAM)
        seen = Seen()
        consumer = store.consumer("reader", seen.one, partitions=2, lease=1.0)
        await consumer.run_until_caught_up()
        for to, again in ((0, 6), (recorded[3].global_position, 2), (END, 0)):
            seen.events.clear()
            await consumer.reset(to=to)
            await consumer.run_until_caught_up()
            assert len(seen.events) == again
        seen.events.clear()
        async with running(consumer):
            while any(partition.worker is None for partition in (await consumer.status()).partitions):
                await pass_time(0.002)
            await consumer.reset(to=recorded[0].global_position)
            await seen.until(5)
        assert [event.version for event in seen.events] == [2, 3, 4, 5, 6]

    @as_a_consumer
    async def test_what_is_in_hand_during_a_reset_does_not_count(self, store: EventStore) -> None:
        """CONSUMER-16: A worker that lost its lease, by a reset say, cannot move the position."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        begun, finish, seen = asyncio.Event(), asyncio.Event(), Seen()

        async def handle(event: RecordedEvent) -> None:
            seen.events.append(event)
            begun.set()
            await finish.wait()

        consumer = store.consumer("reader", handle)
        async with running(consumer):
            await begun.wait()
            await consumer.reset(to=0)
            finish.set()
            await seen.until(4)
            assert [event.version for event in seen.events[:2]] in ([1, 1], [1, 2])
            await consumer.wait_until(await store.head())
        assert [event.version for event in seen.events][-3:] == [1, 2, 3]

    @as_a_consumer
    async def test_consumers_are_kept_by_plain_names(self, store: EventStore) -> None:
        """CONSUMER-17: Each name has its own progress, whatever it looks like."""
        await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        for name in PECULIAR_NAMES:
            seen = Seen()
            consumer = store.consumer(name, seen.one)
            await consumer.run_until_caught_up()
            assert len(seen.events) == 2
        assert {status.name async for status in store.consumers()} == set(PECULIAR_NAMES)

    @as_a_consumer
    async def test_a_consumer_replaces_another_once_it_has_caught_up(self, store: EventStore) -> None:
        """CONSUMER-18: With `replaces`, a rebuild runs beside the live one, and takes its place at one instant."""
        needs_transactions(store)
        await store.append("old-1", some_events(20), expected_version=NO_STREAM)
        live, rebuilt = Seen(), Seen()
        switched: list[tuple[int, int]] = []
        reached = asyncio.Event()

        async def switch(tx: StoreTransaction) -> None:
            switched.append((len(live.events), len(rebuilt.events)))
            await tx.append("switched-1", [an_event()], expected_version=NO_STREAM)

        async def rebuild(event: RecordedEvent) -> None:
            if event.version == 10 and event.stream_id == "old-1":
                await reached.wait()
            await rebuilt.one(event)

        before = store.consumer("table", live.one)
        after = store.consumer("table-2", rebuild, batch_size=4, replaces="table", on_switch=switch)
        ending = asyncio.create_task(before.run())
        async with running(after):
            await live.until(20)
            await rebuilt.until(9)
            await store.append("old-2", some_events(2), expected_version=NO_STREAM)
            await live.until(22)
            assert switched == []
            reached.set()
            with pytest.raises(ConsumerReplaced):
                await ending
            await store.append("old-3", some_events(1), expected_version=NO_STREAM)
            await after.wait_until(await store.head())
        assert switched == [(22, 22)]
        assert rebuilt.events == await log_of(store)
        assert (await before.status()).replaced_by == "table-2"
        with pytest.raises(ConsumerReplaced):
            await store.consumer("table", live.one).run()

    @as_a_consumer
    async def test_a_switch_that_fails_leaves_everything_as_it_was(self, store: EventStore) -> None:
        """CONSUMER-19: If `on_switch` raises, `run` raises it, nothing of it is kept, and the live consumer goes on."""
        needs_transactions(store)
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        live = Seen()

        async def switch(tx: StoreTransaction) -> None:
            await tx.append("switched-1", [an_event()], expected_version=NO_STREAM)
            raise ZeroDivisionError

        async with running(store.consumer("table", live.one)):
            await live.until(3)
            with pytest.raises(ZeroDivisionError):
                await store.consumer("table-2", handle_nothing, replaces="table", on_switch=switch).run()
            assert await store.stream_version("switched-1") == 0
            await store.append("old-1", some_events(1), expected_version=3)
            await live.until(4)

    # --- Bad arguments -------------------------------------------------------------------------------------------

    @as_a_consumer
    async def test_bad_arguments_of_a_consumer_are_refused(self, store: EventStore) -> None:
        """CONSUMER-20: Names, numbers, filters and handlers that are none raise `InvalidArgument` at once."""

        async def of_something_else(message: object) -> None:
            """Take something else."""

        for name in BAD_NAMES:
            with pytest.raises(InvalidArgument):
                store.consumer(name, handle_nothing)
        for handler in (None, "handler", of_something_else, print):
            with pytest.raises(InvalidArgument):
                store.consumer("reader", handler)  # type: ignore[arg-type]
        bad: list[dict[str, Any]] = [{"after": value} for value in (None, *BAD_COUNTS)]
        bad += [{argument: value} for argument in ("batch_size", "partitions") for value in (None, 0, *BAD_COUNTS)]
        bad += [{"lease": value} for value in (None, 0, -1, "1", True, float("inf"), float("nan"))]
        bad += [{"partitions": 1_001}, {"filter": "order"}, {"on_error": "park"}, {"retry": 3}, {"replaces": ""}]
        for arguments in bad:
            with pytest.raises(InvalidArgument):
                store.consumer("reader", handle_nothing, **arguments)

    @as_a_consumer
    async def test_the_number_of_partitions_is_settled_once(self, store: EventStore) -> None:
        """CONSUMER-21: A consumer that was begun with another number of partitions is refused; nothing changes."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        await store.consumer("reader", handle_nothing, partitions=2).run_until_caught_up()
        with pytest.raises(InvalidArgument):
            await store.consumer("reader", handle_nothing, partitions=3).run()
        assert await store.consumer("reader", handle_nothing, partitions=2).lag() == 0

    @as_a_consumer
    async def test_a_consumer_runs_once_at_a_time(self, store: EventStore) -> None:
        """CONSUMER-22: `run()` of an object that is running is refused; it goes on."""
        seen = Seen()
        consumer = store.consumer("reader", seen.one)
        async with running(consumer):
            await store.append("old-1", some_events(1), expected_version=NO_STREAM)
            await seen.until(1)
            with pytest.raises(InvalidArgument):
                await consumer.run()
            await store.append("old-1", some_events(1), expected_version=1)
            await seen.until(2)

    @as_a_consumer
    async def test_what_a_consumer_keeps_is_no_event(self, store: EventStore) -> None:
        """CONSUMER-23: Consumers touch neither streams nor the log, nor checkpoints of the same name."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        before = await log_of(store)
        await store.save_checkpoint("reader", 1, expected=0)
        await store.consumer("reader", handle_nothing, on_error=OnError.PARK).run_until_caught_up()
        assert await log_of(store) == before
        assert await store.load_checkpoint("reader") == 1
        assert [info.stream_id for info in await collect(store.list_streams())] == ["old-1"]

    async def test_without_consumers_they_are_refused(self, store: EventStore) -> None:
        """CONSUMER-24: Without `CONSUMERS`, or `TRANSACTIONS` for `tx` and `replaces`, making one is refused."""
        if Capability.CONSUMERS not in store.capabilities:
            with pytest.raises(CapabilityNotSupported):
                store.consumer("reader", handle_nothing)
            with pytest.raises(CapabilityNotSupported):
                store.consumers()
        elif Capability.TRANSACTIONS not in store.capabilities:
            with pytest.raises(CapabilityNotSupported):
                store.consumer("reader", writing("seen-1"))
            with pytest.raises(CapabilityNotSupported):
                store.consumer("reader", handle_nothing, replaces="other")
        else:
            store.consumer("reader", writing("seen-1"))
            with suppress(CapabilityNotSupported):
                store.consumer("reader", handle_nothing, replaces="other")

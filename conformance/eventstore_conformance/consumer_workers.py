"""Chapter Consumer workers: several workers share a consumer, and take over from each other."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from zlib import crc32

from eventstore import ANY, NO_STREAM, Capability, EventStore, Filter, RecordedEvent, StoreTransaction
from eventstore_conformance.chapter import Chapter, MakeStore
from eventstore_conformance.consumers import Seen, as_a_consumer, needs_transactions, running, writing
from eventstore_conformance.making import an_event, some_events
from eventstore_conformance.observing import let_others_run, log_of, pass_time, stream_of, until
from eventstore_conformance.outcomes import NotClaimed
from eventstore_conformance.patience import opened

LEASE = 0.4
"""Seconds: short, so that a worker that died is soon replaced."""


async def some_streams(store: EventStore, streams: int, events: int) -> list[RecordedEvent]:
    """Append to several streams in turn; return all events in order."""
    recorded: list[RecordedEvent] = []
    for version in range(events):
        for number in range(streams):
            recorded += await store.append(f"log-{number}", [an_event()], expected_version=version)
    return recorded


class ConsumerWorkers(Chapter):
    """`consumer`: partitions and workers."""

    @as_a_consumer
    async def test_partitions_keep_the_events_of_a_stream_in_order(self, store: EventStore) -> None:
        """WORKER-01: Over partitions every event is handled once, and those of a stream in order."""
        recorded = await some_streams(store, 12, 5)
        seen = Seen()

        async def dawdle(event: RecordedEvent) -> None:
            for _ in range(event.version % 3):
                await let_others_run()
            await seen.one(event)

        await store.consumer("reader", dawdle, partitions=4, batch_size=20).run_until_caught_up()
        assert sorted(event.global_position for event in seen.events) == [event.global_position for event in recorded]
        for number in range(12):
            versions = [event.version for event in seen.events if event.stream_id == f"log-{number}"]
            assert versions == [1, 2, 3, 4, 5]

    @as_a_consumer
    async def test_a_stream_has_the_same_partition_everywhere(self, store: EventStore) -> None:
        """WORKER-02: The partition of a stream is the CRC-32 of its id in UTF-8, modulo their number: for good."""
        await some_streams(store, 10, 1)
        consumer = store.consumer("reader", Seen().one, partitions=3)
        await consumer.run_until_caught_up()
        handled = [partition.handled for partition in (await consumer.status()).partitions]
        expected = [0, 0, 0]
        for number in range(10):
            expected[crc32(f"log-{number}".encode()) % 3] += 1
        assert handled == expected

    @as_a_consumer
    async def test_workers_share_the_partitions(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """WORKER-03: Of several workers each has its share of the partitions; one that comes is given some."""
        recorded = await some_streams(two_stores[0], 10, 2)
        seen = [Seen(), Seen()]
        first, second = (
            store.consumer("reader", handler.one, partitions=4, lease=LEASE)
            for store, handler in zip(two_stores, seen, strict=True)
        )
        async with running(first):
            await first.wait_until(recorded[-1].global_position)
            async with running(second):
                while True:
                    partitions = (await first.status()).partitions
                    workers = [partition.worker for partition in partitions]
                    if None not in workers and len(set(workers)) == 2 and workers.count(workers[0]) == 2:
                        break
                    await pass_time(0.01)
                for number in range(10):
                    recorded += await two_stores[0].append(f"log-{number}", [an_event()], expected_version=2)
                await first.wait_until(recorded[-1].global_position)
            recorded += await two_stores[0].append("log-0", [an_event()], expected_version=3)
            await first.wait_until(recorded[-1].global_position)
        assert seen[1].events
        handled = sorted(event.global_position for event in seen[0].events + seen[1].events)
        assert handled == [event.global_position for event in recorded]

    @as_a_consumer
    async def test_a_partition_has_one_worker_at_a_time(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """WORKER-04: However many run a consumer, and however slow the handler, each event is in one worker's hands."""
        store, _ = two_stores
        recorded = await some_streams(store, 3, 4)
        in_hand: dict[int, int] = defaultdict(int)
        most: list[int] = []
        seen = Seen()

        async def handle(event: RecordedEvent) -> None:
            partition = crc32(event.stream_id.encode()) % 2
            in_hand[partition] += 1
            most.append(in_hand[partition])
            await pass_time(LEASE * 1.5 if event == recorded[0] else LEASE / 20)
            in_hand[partition] -= 1
            await seen.one(event)

        consumers = [two_stores[n % 2].consumer("reader", handle, partitions=2, lease=LEASE) for n in range(4)]
        async with running(*consumers):
            await consumers[0].wait_until(recorded[-1].global_position)
        assert max(most) == 1
        assert sorted(event.global_position for event in seen.events) == [event.global_position for event in recorded]

    @as_a_consumer
    async def test_another_worker_takes_over_from_a_dead_one(self, store: EventStore, second_store: MakeStore) -> None:
        """WORKER-05: What a dead worker had is taken over after its lease, and nothing is left out."""
        if Capability.SHARED not in store.capabilities:
            raise NotClaimed(Capability.SHARED)
        recorded = await some_streams(store, 5, 3)
        begun, seen = asyncio.Event(), Seen()

        async def hang(event: RecordedEvent) -> None:
            if event.version == 2:
                begun.set()
                await asyncio.Event().wait()
            await seen.one(event)

        async with opened(second_store(), self.time_limit) as dying:
            run = asyncio.create_task(dying.consumer("reader", hang, partitions=2, lease=LEASE).run())
            await begun.wait()
        # Its store is closed, so that it can neither beat nor give anything back.
        run.cancel()
        await asyncio.wait([run])
        survivor = store.consumer("reader", seen.one, partitions=2, lease=LEASE)
        assert any(partition.worker for partition in (await survivor.status()).partitions)
        await survivor.run_until_caught_up()
        assert {event.global_position for event in seen.events} == {event.global_position for event in recorded}

    @as_a_consumer
    async def test_a_worker_that_leaves_is_replaced_at_once(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """WORKER-06: What a worker gives back when it stops need not wait for the end of a lease."""
        store, other = two_stores
        recorded = await some_streams(store, 3, 2)
        seen = Seen()
        # Its lease outlasts the test.
        await store.consumer("reader", seen.one, lease=1_000.0).run_until_caught_up()
        recorded += await store.append("log-0", some_events(2), expected_version=2)
        await other.consumer("reader", seen.one, lease=1_000.0).run_until_caught_up()
        assert seen.events == recorded

    @as_a_consumer
    async def test_exactly_once_holds_while_workers_come_and_go(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """WORKER-07: With `tx`, workers that come, stop and are cancelled handle every event once in all."""
        store, _ = two_stores
        needs_transactions(store)
        recorded = await some_streams(store, 10, 10)
        write, of_logs = writing("seen-1"), Filter(stream_types=["log"])

        async def handle(event: RecordedEvent, tx: StoreTransaction) -> None:
            await write(event, tx)
            await let_others_run()

        async def come_and_go(number: int) -> None:
            for attempt in range(5):
                consumer = two_stores[number % 2].consumer(
                    "reader", handle, filter=of_logs, partitions=3, batch_size=4, lease=LEASE
                )
                run = asyncio.create_task(consumer.run())
                await pass_time(0.01 * (number + attempt))
                if attempt % 2:
                    run.cancel()
                else:
                    await consumer.stop()
                await asyncio.wait([run])

        await asyncio.gather(*map(come_and_go, range(3)))
        await store.consumer("reader", write, filter=of_logs, partitions=3, lease=LEASE).run_until_caught_up()
        seen = [event.data["position"] for event in await stream_of(store, "seen-1")]
        assert sorted(seen) == [event.global_position for event in recorded]

    @as_a_consumer
    async def test_a_slow_handler_hurts_no_other_partition(self, store: EventStore) -> None:
        """WORKER-08: While a handler takes its time, other partitions and other consumers go on."""
        slow_stream = "log-0"
        quick_stream = next(
            f"log-{n}" for n in range(1, 50) if crc32(f"log-{n}".encode()) % 2 != crc32(slow_stream.encode()) % 2
        )
        release, seen, other = asyncio.Event(), Seen(), Seen()

        async def handle(event: RecordedEvent) -> None:
            if event.stream_id == slow_stream:
                await release.wait()
            await seen.one(event)

        async with running(store.consumer("reader", handle, partitions=2), store.consumer("other", other.one)):
            await store.append(slow_stream, [an_event()], expected_version=NO_STREAM)
            for _ in range(5):
                await store.append(quick_stream, [an_event()], expected_version=ANY)
            await seen.until(5)
            await other.until(6)
            assert {event.stream_id for event in seen.events} == {quick_stream}
            release.set()
            await seen.until(6)
        assert len(await log_of(store)) == 6

    @as_a_consumer
    async def test_workers_of_a_partition_too_many_stand_by(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """WORKER-09: A worker without a partition waits, and takes one when its worker leaves."""
        store, other = two_stores
        seen = [Seen(), Seen()]
        first, second = (
            each.consumer("reader", handler.one, lease=LEASE) for each, handler in zip(two_stores, seen, strict=True)
        )
        async with running(first, second):
            await store.append("log-1", some_events(2), expected_version=NO_STREAM)
            await until(lambda: len(seen[0].events + seen[1].events) == 2)
            at_work = first if seen[0].events else second
            await at_work.stop()
            await other.append("log-1", some_events(2), expected_version=2)
            await until(lambda: len(seen[0].events + seen[1].events) == 4)
        assert [len(handler.events) for handler in seen] == [2, 2]

    @as_a_consumer
    async def test_a_worker_keeps_its_lease_while_it_stops(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """WORKER-10: What is in hand when a worker is told to stop is nobody else's before it is finished."""
        store, other = two_stores
        await store.append("log-1", some_events(2), expected_version=NO_STREAM)
        begun, seen, after = asyncio.Event(), Seen(), Seen()

        async def handle(event: RecordedEvent) -> None:
            begun.set()
            await pass_time(LEASE * 2)
            await seen.one(event)

        stopping = store.consumer("reader", handle, lease=LEASE)
        run = asyncio.create_task(stopping.run())
        await begun.wait()
        async with running(other.consumer("reader", after.one, lease=LEASE)):
            await stopping.stop()
            await run
            await after.until(1)
        assert ([event.version for event in seen.events], [event.version for event in after.events]) == ([1], [2])

"""Chapter Consumer errors: handlers that fail, once or for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventstore import (
    NO_STREAM,
    Consumer,
    EventStore,
    Filter,
    HandlerFailed,
    OnError,
    RecordedEvent,
    Retry,
    StoreTransaction,
)
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.consumers import Seen, as_a_consumer, needs_transactions, running, writing
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import pass_time, stream_of, until

QUICK = Retry(attempts=3, first_wait=0.001, longest_wait=0.002)


class Failing(Seen):
    """A handler that fails at certain events, so many times, and notes what it handled and how often it tried."""

    def __init__(self, times: float = float("inf"), *, version: int = 2, stream_id: str = "log-1") -> None:
        super().__init__()
        self.times = times
        self.bad = (stream_id, version)
        self.tries = 0

    def check(self, *events: RecordedEvent) -> None:
        """Fail if one of the events is bad, and it is not mended yet."""
        if any((event.stream_id, event.version) == self.bad for event in events):
            self.tries += 1
            if self.tries <= self.times:
                raise ValueError(f"poison {self.tries}")

    async def one(self, event: RecordedEvent) -> None:
        """Take one event."""
        self.check(event)
        await super().one(event)

    async def batch(self, events: list[RecordedEvent]) -> None:
        """Take a batch."""
        self.check(*events)
        await super().batch(events)

    @property
    def versions(self) -> list[int]:
        """The versions of what was handled."""
        return [event.version for event in self.events]


class ConsumerErrors(Chapter):
    """`consumer`: retries, stopping, parking."""

    @as_a_consumer
    async def test_a_handler_that_fails_is_tried_again(self, store: EventStore) -> None:
        """CONSUMERERROR-01: An event whose handler raises comes again, before any later one; others do not."""
        await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        failing = Failing(2)
        await store.consumer("reader", failing.one, retry=QUICK).run_until_caught_up()
        assert failing.versions == [1, 2, 3, 4]
        assert failing.tries == 3

    @as_a_consumer
    async def test_a_consumer_stops_at_an_event_that_it_cannot_handle(self, store: EventStore) -> None:
        """CONSUMERERROR-02: By default `run` raises `HandlerFailed`, and the next run begins with the event."""
        recorded = await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        failing = Failing()
        with pytest.raises(HandlerFailed) as failure:
            await store.consumer("reader", failing.one, retry=QUICK).run()
        assert (failure.value.consumer, failure.value.event, failure.value.attempts) == ("reader", recorded[1], 3)
        assert str(failure.value.__cause__) == "poison 3"
        assert failing.versions == [1]
        seen = Seen()
        await store.consumer("reader", seen.one).run_until_caught_up()
        assert seen.events == recorded[1:]

    @as_a_consumer
    async def test_a_parked_event_lets_the_consumer_go_on(self, store: EventStore) -> None:
        """CONSUMERERROR-03: Under `PARK` the event is set aside with what is known of it, and the next one follows."""
        recorded = await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        failing = Failing()
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK, retry=QUICK)
        await consumer.run_until_caught_up()
        assert failing.versions == [1, 3, 4]
        (parked,) = await consumer.parked()
        assert (parked.event, parked.position) == (recorded[1], recorded[1].global_position)
        assert (parked.stream_id, parked.state, parked.attempts) == ("log-1", "failed", 3)
        assert "ValueError: poison 3" in parked.error
        assert (await consumer.status()).parked == 1
        assert await consumer.lag() == 0

    @as_a_consumer
    async def test_a_parked_event_can_be_replayed(self, store: EventStore) -> None:
        """CONSUMERERROR-04: `replay` has it handled again, once, by who runs then or next; a failure parks it again."""
        await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        failing = Failing(4)
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK, retry=QUICK)
        await consumer.run_until_caught_up()
        assert await consumer.replay() == 1
        await consumer.run_until_caught_up()
        (parked,) = await consumer.parked()
        assert (parked.state, parked.attempts) == ("failed", 4)
        async with running(consumer):
            assert await consumer.replay(parked.position) == 1
            await until(lambda: failing.versions == [1, 3, 2])
        assert await consumer.parked() == []
        assert await consumer.replay(parked.position) == 0

    @as_a_consumer
    async def test_a_parked_event_can_be_discarded(self, store: EventStore) -> None:
        """CONSUMERERROR-05: `discard` forgets it: it is not handled any more."""
        recorded = await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        failing = Failing(3)
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK, retry=QUICK)
        await consumer.run_until_caught_up()
        assert await consumer.discard(recorded[0].global_position) == 0
        assert await consumer.discard(recorded[1].global_position) == 1
        await consumer.run_until_caught_up()
        assert await consumer.parked() == []
        assert failing.versions == [1, 3]

    @as_a_consumer
    async def test_later_events_of_the_stream_wait_behind_a_parked_one(self, store: EventStore) -> None:
        """CONSUMERERROR-06: Under `PARK_STREAM` later events of the stream wait, other streams go on."""
        await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        await store.append("log-2", some_events(2), expected_version=NO_STREAM)
        failing = Failing()
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK_STREAM, retry=QUICK)
        await consumer.run_until_caught_up()
        await store.append("log-1", some_events(1), expected_version=3)
        await consumer.run_until_caught_up()
        handled = [(event.stream_id, event.version) for event in failing.events]
        assert handled == [("log-1", 1), ("log-2", 1), ("log-2", 2)]
        parked = await consumer.parked()
        assert [(each.event and each.event.version, each.state) for each in parked] == [
            (2, "failed"),
            (3, "waiting"),
            (4, "waiting"),
        ]

    @pytest.mark.parametrize("discarded", [False, True], ids=["replayed", "discarded"])
    @as_a_consumer
    async def test_a_stream_goes_on_in_order_when_its_parked_event_is_dealt_with(
        self, store: EventStore, discarded: bool
    ) -> None:
        """CONSUMERERROR-07: Once it is replayed or discarded, those behind it follow in order, before new ones."""
        await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        failing = Failing(3)
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK_STREAM, retry=QUICK)
        await consumer.run_until_caught_up()
        assert await (consumer.discard() if discarded else consumer.replay()) == 1
        await store.append("log-1", some_events(2), expected_version=4)
        await consumer.run_until_caught_up()
        assert failing.versions == ([1, 3, 4, 5, 6] if discarded else [1, 2, 3, 4, 5, 6])
        assert await consumer.parked() == []

    @as_a_consumer
    async def test_a_stream_stays_held_if_the_replay_fails(self, store: EventStore) -> None:
        """CONSUMERERROR-08: A replay that fails leaves the stream as it was: nothing passes the event."""
        await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        failing = Failing(4)
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK_STREAM, retry=QUICK)
        await consumer.run_until_caught_up()
        await consumer.replay()
        await consumer.run_until_caught_up()
        await store.append("log-1", some_events(1), expected_version=3)
        await consumer.run_until_caught_up()
        assert failing.versions == [1]
        await consumer.replay()
        await consumer.run_until_caught_up()
        assert failing.versions == [1, 2, 3, 4]

    @pytest.mark.parametrize("on_error", [OnError.PARK, OnError.PARK_STREAM], ids=lambda on_error: on_error.name)
    @as_a_consumer
    async def test_of_a_batch_only_the_bad_event_is_parked(self, store: EventStore, on_error: OnError) -> None:
        """CONSUMERERROR-09: A batch that fails is handled one by one, so that the bad event is found."""
        await store.append("log-1", some_events(2), expected_version=NO_STREAM)
        await store.append("log-2", some_events(2), expected_version=NO_STREAM)
        failing = Failing()
        consumer = store.consumer("reader", failing.batch, on_error=on_error, retry=QUICK)
        await consumer.run_until_caught_up()
        assert [(event.stream_id, event.version) for event in failing.events] == [
            ("log-1", 1),
            ("log-2", 1),
            ("log-2", 2),
        ]
        (parked,) = await consumer.parked()
        assert parked.event is not None
        assert parked.event.version == 2

    @as_a_consumer
    async def test_attempts_are_counted_over_restarts(self, store: EventStore) -> None:
        """CONSUMERERROR-10: An event is tried `attempts` times in all, however often the consumer is stopped."""
        await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        failing = Failing()
        patient = Retry(attempts=3, first_wait=1_000.0, longest_wait=1_000.0)
        for tries in (1, 2):
            consumer = store.consumer("reader", failing.one, on_error=OnError.PARK, retry=patient)
            async with running(consumer):
                await until(lambda tries=tries: failing.tries == tries)  # type: ignore[misc]
                await until_attempts_are(tries, consumer)
        last = store.consumer("reader", failing.one, on_error=OnError.PARK, retry=QUICK)
        await last.run_until_caught_up()
        assert failing.tries == 3
        assert failing.versions == [1, 3]

    @as_a_consumer
    async def test_an_event_that_ends_the_run_is_counted(self, store: EventStore) -> None:
        """CONSUMERERROR-11: An event in whose handling the consumer ends again and again is parked."""
        await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        begun, tries, seen = asyncio.Event(), [0], Seen()

        async def hang(event: RecordedEvent) -> None:
            if event.version == 2:
                tries[0] += 1
                begun.set()
                await asyncio.Event().wait()
            await seen.one(event)

        consumer = store.consumer("reader", hang, on_error=OnError.PARK, retry=QUICK)
        failing = Failing(1)
        first = store.consumer(
            "reader", failing.one, on_error=OnError.PARK, retry=Retry(attempts=3, first_wait=1_000.0)
        )
        async with running(first):
            # From its first failure on each try is counted before it is made.
            await until_attempts_are(1, first)
        for _ in range(2):
            begun.clear()
            run = asyncio.create_task(consumer.run())
            await begun.wait()
            run.cancel()
            await asyncio.wait([run])
        await consumer.run_until_caught_up()
        assert tries[0] == 2
        assert [event.version for event in seen.events] == [3]
        assert len(await consumer.parked()) == 1

    @as_a_consumer
    async def test_parking_is_exact_in_transactions(self, store: EventStore) -> None:
        """CONSUMERERROR-12: With `tx`, what a parked event's handler did is undone; replaying it does it once."""
        needs_transactions(store)
        recorded = await store.append("log-1", some_events(5), expected_version=NO_STREAM)
        failing, write = Failing(3), writing("seen-1")

        async def handle(event: RecordedEvent, tx: StoreTransaction) -> None:
            await write(event, tx)
            failing.check(event)

        consumer = store.consumer(
            "reader",
            handle,
            filter=Filter(stream_types=["log"]),
            on_error=OnError.PARK,
            retry=Retry(attempts=2, first_wait=0.001, longest_wait=0.002),
        )
        await consumer.run_until_caught_up()
        assert await positions_seen(store) == [event.global_position for event in recorded if event.version != 2]
        await consumer.replay()
        await consumer.run_until_caught_up()
        assert await positions_seen(store) == [recorded[n].global_position for n in (0, 2, 3, 4, 1)]
        assert await consumer.parked() == []

    @as_a_consumer
    async def test_a_parked_event_that_is_erased_is_gone(self, store: EventStore) -> None:
        """CONSUMERERROR-13: A parked event is no copy: once it is erased, nothing is left to replay."""
        await store.append("log-1", some_events(2), expected_version=NO_STREAM)
        failing = Failing()
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK_STREAM, retry=QUICK)
        await consumer.run_until_caught_up()
        await store.delete_stream("log-1", expected_version=2, erase=True)
        (parked,) = await consumer.parked()
        assert parked.event is None
        tries = failing.tries
        await consumer.replay()
        await consumer.run_until_caught_up()
        assert await consumer.parked() == []
        assert failing.tries == tries

    @as_a_consumer
    async def test_a_reset_forgets_what_is_parked_beyond_it(self, store: EventStore) -> None:
        """CONSUMERERROR-14: After a reset parked events come again with all others, once."""
        recorded = await store.append("log-1", some_events(3), expected_version=NO_STREAM)
        failing = Failing(3)
        consumer = store.consumer("reader", failing.one, on_error=OnError.PARK_STREAM, retry=QUICK)
        await consumer.run_until_caught_up()
        assert len(await consumer.parked()) == 2
        await consumer.reset(to=recorded[0].global_position)
        assert await consumer.parked() == []
        await consumer.run_until_caught_up()
        assert failing.versions == [1, 2, 3]

    @pytest.mark.parametrize("bad", [-1, 0, True, "1", 1.5], ids=repr)
    @as_a_consumer
    async def test_a_bad_parked_position_is_refused(self, store: EventStore, bad: Any) -> None:
        """CONSUMERERROR-15: `replay` and `discard` take the position of an event, or None for all that failed."""
        consumer = store.consumer("reader", Seen().one)
        for call in (consumer.replay, consumer.discard):
            with pytest.raises((ValueError, TypeError)):
                await call(bad)


async def until_attempts_are(number: int, consumer: Consumer) -> None:
    """Return when so many failed attempts at the next event were saved."""
    while (await consumer.status()).partitions[0].attempts < number:
        await pass_time(0.002)


async def positions_seen(store: EventStore) -> list[Any]:
    """Return the positions that the handler has written down."""
    return [event.data["position"] for event in await stream_of(store, "seen-1")]

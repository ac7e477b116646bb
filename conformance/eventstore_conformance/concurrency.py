"""Chapter Concurrency: many tasks on one store, and on two stores where the backend is shared."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    EventStore,
    ExpectedVersion,
    StreamWrite,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.checking import check
from eventstore_conformance.effort import EFFORT
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import (
    in_log_order,
    let_others_run,
    log_of,
    outcomes_of,
    stream_of,
    versions,
)
from eventstore_conformance.recording import Journal
from eventstore_conformance.workload import work

RACERS = 24


class Concurrency(Chapter):
    """Races."""

    @pytest.mark.parametrize(("version", "expected"), [(0, NO_STREAM), (0, 0), (3, 3)])
    async def test_one_of_many_racers_wins(
        self, two_stores: tuple[EventStore, EventStore], version: int, expected: ExpectedVersion
    ) -> None:
        """RACE-01: Of many appends at one version one succeeds; all the others are told the true version."""
        store = two_stores[0]
        if version:
            await store.append("race-1", some_events(version), expected_version=NO_STREAM)
        won, refused = await outcomes_of(
            *(two_stores[n % 2].append("race-1", some_events(2), expected_version=expected) for n in range(RACERS))
        )
        assert len(won) == 1
        assert (await stream_of(store, "race-1"))[version:] == won[0]
        assert len(refused) == RACERS - 1
        for error in refused:
            assert isinstance(error, WrongExpectedVersion)
            assert error.mismatches == (("race-1", expected, version + 2),)

    @pytest.mark.parametrize("expected", [ANY, STREAM_EXISTS])
    async def test_without_an_exact_expectation_all_racers_win(
        self, two_stores: tuple[EventStore, EventStore], expected: ExpectedVersion
    ) -> None:
        """RACE-02: `ANY` and `STREAM_EXISTS` never fail because of a race; each batch stays in one piece."""
        (first,) = await two_stores[0].append("race-1", some_events(1), expected_version=NO_STREAM)
        won, refused = await outcomes_of(
            *(two_stores[n % 2].append("race-1", some_events(3), expected_version=expected) for n in range(RACERS))
        )
        assert refused == []
        stream = await stream_of(two_stores[1], "race-1")
        assert versions(stream) == list(range(1, 3 * RACERS + 2))
        batches = sorted(won, key=lambda batch: batch[0].version)
        assert stream == [first, *(event for batch in batches for event in batch)]
        assert await log_of(two_stores[0]) == stream

    async def test_racers_that_make_a_stream_with_any_all_win(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RACE-03: `ANY` racers on a stream that does not exist yet all succeed."""
        won, refused = await outcomes_of(
            *(two_stores[n % 2].append("race-1", some_events(1), expected_version=ANY) for n in range(RACERS))
        )
        assert (len(won), refused) == (RACERS, [])
        assert versions(await stream_of(two_stores[0], "race-1")) == list(range(1, RACERS + 1))

    async def test_retrying_racers_all_get_through(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RACE-04: Racers that load and try again when refused all succeed, and no update is lost."""

        async def count_up(store: EventStore) -> None:
            while True:
                version = await store.stream_version("counter-1")
                _, refused = await outcomes_of(store.append("counter-1", some_events(1), expected_version=version))
                if not refused:
                    return
                (error,) = refused
                assert isinstance(error, WrongExpectedVersion)
                assert error.actual > version

        await asyncio.gather(*(count_up(two_stores[n % 2]) for n in range(RACERS)))
        assert versions(await stream_of(two_stores[0], "counter-1")) == list(range(1, RACERS + 1))

    @pytest.mark.parametrize("expected", [NO_STREAM, 0, ANY])
    async def test_the_same_batch_at_the_same_time_is_stored_once(
        self, two_stores: tuple[EventStore, EventStore], expected: ExpectedVersion
    ) -> None:
        """RACE-05: One batch sent many times at once is stored once, and all the calls return it."""
        batch = some_events(3)
        won, refused = await outcomes_of(
            *(two_stores[n % 2].append("race-1", batch, expected_version=expected) for n in range(RACERS))
        )
        assert refused == []
        stream = await stream_of(two_stores[0], "race-1")
        assert versions(stream) == [1, 2, 3]
        assert won == [stream] * RACERS

    async def test_writers_of_several_streams_do_not_block_each_other_for_good(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RACE-06: Transactions over the same streams in opposite orders all succeed, each in one piece."""
        stream_ids = [f"race-{n}" for n in range(4)]

        async def write(n: int) -> None:
            order = stream_ids if n % 2 else stream_ids[::-1]
            await two_stores[n % 2].append_many([StreamWrite(stream_id, some_events(2), ANY) for stream_id in order])

        await asyncio.gather(*map(write, range(RACERS)))
        for stream_id in stream_ids:
            assert versions(await stream_of(two_stores[0], stream_id)) == list(range(1, 2 * RACERS + 1))

    async def test_one_of_many_racing_transactions_wins_everywhere(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RACE-07: Of transactions that overlap in a stream one succeeds; of the others nothing is anywhere."""
        won, refused = await outcomes_of(
            *(
                two_stores[n % 2].append_many(
                    [
                        StreamWrite("shared-1", some_events(1), NO_STREAM),
                        StreamWrite(f"own-{n}", some_events(1), NO_STREAM),
                    ]
                )
                for n in range(RACERS)
            )
        )
        assert (len(won), len(refused)) == (1, RACERS - 1)
        for error in refused:
            assert isinstance(error, WrongExpectedVersion)
            assert error.mismatches == (("shared-1", NO_STREAM, 1),)
        assert await log_of(two_stores[0]) == in_log_order(event for events in won[0] for event in events)

    async def test_appends_of_many_tasks_keep_their_own_outcomes(self, store: EventStore) -> None:
        """RACE-08: Whatever is committed together, each append succeeds or fails by itself and gets its own records."""
        await store.append("full-1", some_events(1), expected_version=NO_STREAM)
        batches = [some_events(n % 5 + 1) for n in range(60)]
        results = await asyncio.gather(
            *(
                store.append("full-1" if n % 3 == 0 else f"own-{n}", batch, expected_version=NO_STREAM)
                for n, batch in enumerate(batches)
            ),
            return_exceptions=True,
        )
        for n, (batch, result) in enumerate(zip(batches, results, strict=True)):
            if n % 3 == 0:
                assert isinstance(result, WrongExpectedVersion)
            else:
                assert not isinstance(result, BaseException)
                assert [event.event_id for event in result] == [event.event_id for event in batch]
                assert await stream_of(store, f"own-{n}") == result

    async def test_readers_see_whole_batches(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RACE-09: Nobody ever sees a part of a batch."""
        store, second = two_stores

        async def write() -> None:
            for _ in range(20):
                await store.append("race-1", some_events(7), expected_version=ANY)
                await let_others_run()

        writer = asyncio.ensure_future(write())
        while not writer.done():
            assert len(await log_of(second)) % 7 == 0
            assert await second.stream_version("race-1") % 7 == 0
            await let_others_run()
        await writer

    # --- Cancelling ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 25])
    async def test_a_cancelled_append_happened_wholly_or_not_at_all(self, store: EventStore, turns: int) -> None:
        """RACE-10: An append cancelled at any point is whole or absent; sent again, it gives its true outcome."""
        for attempt in range(5):
            stream_id, batch = f"cancelled-{attempt}", some_events(5)
            append = asyncio.ensure_future(store.append(stream_id, batch, expected_version=NO_STREAM))
            await let_others_run(turns)
            append.cancel()
            await asyncio.wait([append])
            found = await stream_of(store, stream_id)
            assert len(found) in (0, 5)
            if not append.cancelled():
                assert append.result() == found
            recorded = await store.append(stream_id, batch, expected_version=NO_STREAM)
            assert await stream_of(store, stream_id) == recorded
            assert versions(recorded) == [1, 2, 3, 4, 5]

    async def test_a_cancelled_append_leaves_the_others_alone(self, store: EventStore) -> None:
        """RACE-11: Cancelling some of many appends at once changes nothing for the others."""
        batches = [some_events(3) for _ in range(40)]
        appends = [
            asyncio.ensure_future(store.append(f"s-{n}", batch, expected_version=NO_STREAM))
            for n, batch in enumerate(batches)
        ]
        for n, append in enumerate(appends):
            if n % 3 == 0:
                await let_others_run()
                append.cancel()
        await asyncio.wait(appends)
        for n, append in enumerate(appends):
            found = await stream_of(store, f"s-{n}")
            if append.cancelled():
                assert n % 3 == 0
                assert len(found) in (0, 3)
            else:
                assert found == append.result()

    @pytest.mark.parametrize("turns", [1, 2, 4, 8, 16])
    async def test_cancelled_readers_do_no_harm(self, small_pages_store: EventStore, turns: int) -> None:
        """RACE-12: After any number of cancelled reads the store reads and writes on."""
        store = small_pages_store
        recorded = await store.append("read-1", some_events(20), expected_version=NO_STREAM)
        for _ in range(5):
            readers = [asyncio.ensure_future(stream_of(store, "read-1")) for _ in range(10)]
            readers += [asyncio.ensure_future(log_of(store)) for _ in range(10)]
            await let_others_run(turns)
            for reader in readers:
                reader.cancel()
            await asyncio.wait(readers)
            assert all(reader.cancelled() or reader.result() == recorded for reader in readers)
        assert await stream_of(store, "read-1") == recorded
        await store.append("read-1", some_events(1), expected_version=20)

    # --- Histories -----------------------------------------------------------------------------------------------

    async def test_a_recorded_history_agrees_with_the_log(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RACE-13: All that appenders and readers were told, in their order in time, is one log and its prefixes."""
        await check_a_history(two_stores, EFFORT.seed_of("RACE-13"), cancelling=False)

    async def test_a_recorded_history_with_cancelled_appends_agrees_with_the_log(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RACE-14: The same holds where some appends are cancelled half-way, and some of them sent again."""
        await check_a_history(two_stores, EFFORT.seed_of("RACE-14"), cancelling=True)


async def check_a_history(stores: tuple[EventStore, EventStore], seed: int, *, cancelling: bool) -> None:
    """Record what many workers do, and check it."""
    journal = Journal()
    log = await work(stores, seed, journal, cancelling=cancelling)
    anomalies = check(journal.history, log)
    assert not anomalies, "\n" + "\n".join(map(str, anomalies))

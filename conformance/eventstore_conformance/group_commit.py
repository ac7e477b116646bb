"""Chapter Group commit: appends at the same time, which a store may write together, and which keep to themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    Capability,
    DuplicateEventId,
    EventStore,
    NewEvent,
    RecordedEvent,
    StoreNotOpen,
    StoreUnavailable,
    StreamDeleted,
    StreamWrite,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter, MakeStore, in_a_transaction
from eventstore_conformance.making import an_event, object_of_size, some_events
from eventstore_conformance.observing import in_log_order, let_others_run, log_of, outcomes_of, stream_of, versions
from eventstore_conformance.patience import opened

NEIGHBOURS = 30


class GroupCommit(Chapter):
    """Many appends at once on one store."""

    async def test_a_bad_append_fails_alone(self, store: EventStore) -> None:
        """GROUP-01: Whatever is wrong with an append, those at the same time are stored, and it says what was wrong."""
        (known,) = await store.append("full-1", some_events(1), expected_version=NO_STREAM)
        await store.append("gone-1", some_events(1), expected_version=NO_STREAM)
        await store.delete_stream("gone-1", expected_version=ANY)
        reused = an_event(event_id=known.event_id)
        appends = [
            *_neighbours(store, range(10)),
            asyncio.ensure_future(store.append("full-1", some_events(1), expected_version=7)),
            *_neighbours(store, range(10, 15)),
            asyncio.ensure_future(store.append("gone-1", some_events(1), expected_version=ANY)),
            *_neighbours(store, range(15, 20)),
            asyncio.ensure_future(store.append("other-1", [reused], expected_version=ANY)),
            *_neighbours(store, range(20, NEIGHBOURS)),
        ]
        stored, refused = await outcomes_of(*appends)
        assert [type(error) for error in refused] == [WrongExpectedVersion, StreamDeleted, DuplicateEventId]
        await _check_neighbours(store, stored)
        assert versions(await stream_of(store, "full-1")) == [1]
        assert await stream_of(store, "other-1") == []

    async def test_a_stream_may_occur_many_times(self, store: EventStore) -> None:
        """GROUP-02: Of many appends to one stream at once each is told the truth about its own events."""
        batches = [some_events(n % 3 + 1) for n in range(40)]
        stored, refused = await outcomes_of(
            *(
                store.append("busy-1", batch, expected_version=n if n % 4 == 3 else ANY)
                for n, batch in enumerate(batches)
            )
        )
        assert all(isinstance(error, WrongExpectedVersion) for error in refused)
        assert len(stored) >= 30
        by_version = sorted(stored, key=lambda batch: batch[0].version)
        assert await stream_of(store, "busy-1") == [event for batch in by_version for event in batch]
        sent = {tuple(event.event_id for event in batch) for batch in batches}
        assert {tuple(event.event_id for event in batch) for batch in stored} <= sent

    async def test_an_append_to_several_streams_stays_whole(self, store: EventStore) -> None:
        """GROUP-03: Among others, an `append_many` is all or nothing, and leaves those that share its streams alone."""
        await store.append("full-1", some_events(1), expected_version=NO_STREAM)

        def write(n: int, expected: int) -> asyncio.Future[list[list[RecordedEvent]]]:
            writes = [
                StreamWrite(f"left-{n}", some_events(2), NO_STREAM),
                StreamWrite("full-1", some_events(1), ANY if expected == 1 else expected),
                StreamWrite(f"right-{n}", some_events(3), NO_STREAM),
            ]
            return asyncio.ensure_future(store.append_many(writes))

        neighbours = _neighbours(store)
        stored, refused = await outcomes_of(*(write(n, 9_999 if n % 2 else 1) for n in range(12)))
        await _check_neighbours(store, await asyncio.gather(*neighbours))
        assert (len(stored), len(refused)) == (6, 6)
        for n in range(12):
            assert len(await stream_of(store, f"left-{n}")) == (0 if n % 2 else 2)
            assert len(await stream_of(store, f"right-{n}")) == (0 if n % 2 else 3)
        assert versions(await stream_of(store, "full-1")) == [1, 2, 3, 4, 5, 6, 7]
        for left, shared, right in stored:
            assert in_log_order([*left, *shared, *right]) == [*left, *shared, *right]

    async def test_a_batch_sent_again_among_others_is_stored_once(self, store: EventStore) -> None:
        """GROUP-04: A batch that is stored already is answered with its events as first recorded."""
        batch = some_events(3)
        first = await store.append("again-1", batch, expected_version=NO_STREAM)
        neighbours = _neighbours(store)
        again = await asyncio.gather(*(store.append("again-1", batch, expected_version=NO_STREAM) for _ in range(5)))
        await _check_neighbours(store, await asyncio.gather(*neighbours))
        assert again == [first] * 5
        assert await stream_of(store, "again-1") == first

    # --- Cancelling ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 16])
    async def test_what_was_cancelled_does_not_happen_later(self, store: EventStore, turns: int) -> None:
        """GROUP-05: When a cancelled append has ended it is stored or not, and stays so; its neighbours are stored."""
        appends = _neighbours(store)
        await let_others_run(turns)
        cancelled = appends[::3]
        for append in cancelled:
            append.cancel()
        await asyncio.wait(cancelled)
        then = [await stream_of(store, f"own-{n}") for n in range(0, NEIGHBOURS, 3)]
        stored, refused = await outcomes_of(*(append for append in appends if append not in cancelled))
        assert refused == []
        assert [await stream_of(store, f"own-{n}") for n in range(0, NEIGHBOURS, 3)] == then
        assert all(len(events) in (0, 2) for events in then)
        for batch in stored:
            assert await stream_of(store, batch[0].stream_id) == batch

    @pytest.mark.parametrize("turns", [0, 1, 3, 9])
    async def test_a_store_whose_appends_were_all_cancelled_goes_on(self, store: EventStore, turns: int) -> None:
        """GROUP-06: After everybody has been cancelled at once, the next append is stored as ever."""
        for _ in range(3):
            appends = _neighbours(store)
            await let_others_run(turns)
            for append in appends:
                append.cancel()
            await asyncio.wait(appends)
        recorded = await store.append("next-1", some_events(2), expected_version=ANY)
        assert await stream_of(store, "next-1") == recorded

    # --- Size ----------------------------------------------------------------------------------------------------

    async def test_more_than_goes_together_is_stored(self, store: EventStore) -> None:
        """GROUP-07: Hundreds of appends at once, long batches and large payloads among them, are all stored."""
        batches: list[Sequence[NewEvent]] = [some_events(1) for _ in range(300)]
        batches[40] = some_events(700)
        batches[41] = some_events(700)
        for n in range(100, 108):
            batches[n] = [an_event(data=object_of_size(400_000))]
        stored = await asyncio.gather(
            *(store.append(f"s-{n}", batch, expected_version=NO_STREAM) for n, batch in enumerate(batches))
        )
        assert [[event.event_id for event in batch] for batch in stored] == [
            [event.event_id for event in batch] for batch in batches
        ]
        assert await log_of(store) == in_log_order(event for batch in stored for event in batch)

    # --- Transactions and closing --------------------------------------------------------------------------------

    @in_a_transaction
    async def test_a_transaction_keeps_apart(self, store: EventStore) -> None:
        """GROUP-08: What commits meanwhile takes nothing of a transaction with it; rolled back, it leaves no trace."""
        loop = asyncio.get_running_loop()
        appended, enough = loop.create_future(), loop.create_future()

        async def change_mind() -> None:
            async with store.transaction() as tx:
                appended.set_result(await tx.append("undone-1", some_events(2), expected_version=NO_STREAM))
                await enough
                raise RuntimeError("changed my mind")

        transaction = asyncio.ensure_future(change_mind())
        await appended
        neighbours = _neighbours(store)
        await let_others_run(20)
        enough.set_result(None)
        with pytest.raises(RuntimeError, match="changed my mind"):
            await transaction
        await _check_neighbours(store, await asyncio.gather(*neighbours))
        assert await stream_of(store, "undone-1") == []

    @pytest.mark.parametrize("turns", [1, 3, 9])
    async def test_closing_answers_everybody(self, make_store: MakeStore, turns: int) -> None:
        """GROUP-09: Who appends while the store is closed gets an answer; what was acknowledged is stored."""
        async with opened(make_store(), self.time_limit) as store:
            appends = _neighbours(store)
            await let_others_run(turns)
            await store.close()
            stored, refused = await outcomes_of(*appends)
            assert all(isinstance(error, (StoreNotOpen, StoreUnavailable)) for error in refused)
        if Capability.DURABLE in store.capabilities:
            async with opened(make_store(), self.time_limit) as store:
                for batch in stored:
                    assert await stream_of(store, batch[0].stream_id) == batch


def _neighbours(
    store: EventStore, numbers: Iterable[int] = range(NEIGHBOURS)
) -> list[asyncio.Future[list[RecordedEvent]]]:
    """Begin appends of two events each to as many new streams, and return them."""
    return [
        asyncio.ensure_future(
            store.append(f"own-{n}", [an_event(data={"own": n}), an_event()], expected_version=NO_STREAM)
        )
        for n in numbers
    ]


async def _check_neighbours(store: EventStore, stored: Sequence[Sequence[RecordedEvent]]) -> None:
    assert len(stored) == NEIGHBOURS
    for n, batch in enumerate(stored):
        assert [(event.stream_id, event.version) for event in batch] == [(f"own-{n}", 1), (f"own-{n}", 2)]
        assert batch[0].data == {"own": n}
        assert await stream_of(store, f"own-{n}") == batch

"""Chapter Restore, continued: beside appends and readers, at the same time, cancelled and cut off."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from eventstore import Capability, EventStore, StoreUnavailable, WrongExpectedVersion
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.faults import Follower, lose, warm_up
from eventstore_conformance.hooks import Line
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import (
    in_log_order,
    let_others_run,
    log_of,
    outcomes_of,
    positions,
    stream_of,
    take,
)
from eventstore_conformance.ordering import append_from_many_tasks
from eventstore_conformance.outcomes import check_claimed
from eventstore_conformance.primitives import (
    FAR_AHEAD,
    Conflict,
    RestoredEvent,
    StreamState,
    in_turn,
    restore,
    restored,
    some_old_events,
)

DAY = timedelta(days=1)


class RestoreRaces(Chapter):
    """Restores beside appends, readers and other restores."""

    async def test_those_who_wait_are_woken_by_a_restore(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RESTORE-22: Subscriptions to the log and to a stream, here and elsewhere, get what is restored meanwhile."""
        store, second = two_stores
        check_claimed(store, Capability.RESTORE)
        subscriptions = [reader.subscribe() for reader in two_stores]
        subscriptions += [reader.subscribe_stream("order-1") for reader in two_stores]
        for number in range(3):
            waiting = [asyncio.ensure_future(take(events, 2)) for events in subscriptions]
            await let_others_run(10 * number)
            later = FAR_AHEAD + number * DAY
            events = some_old_events("order-1", 2, first_version=2 * number + 1, created_at=later)
            expected = await restored(second if number % 2 else store, events)
            assert await asyncio.gather(*waiting) == [expected] * len(waiting)

    async def test_a_follower_misses_nothing_that_is_restored(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RESTORE-23: Beside appends and restores a reader that bookmarks what it saw last gets every event once."""
        store, second = two_stores
        check_claimed(store, Capability.RESTORE)
        stored = []

        async def restore_some(writer: EventStore, number: int) -> None:
            for n in range(12):
                names = [f"moved-{number}-{n % 3}", f"moved-{number}-new-{n}"]
                later = FAR_AHEAD + n * DAY
                events = in_turn(
                    some_old_events(names[0], 7, first_version=n // 3 * 7 + 1, created_at=later),
                    some_old_events(names[1], 7),
                )
                stored.extend(await restored(writer, events))
                await let_others_run(number)

        at_work = asyncio.gather(
            append_from_many_tasks(store), restore_some(store, 1), restore_some(second, 2), restore_some(second, 3)
        )
        follower = Follower(second)
        while not at_work.done():
            await follower.read()
            await let_others_run()
        appended, *_ = await at_work
        await follower.read()
        assert follower.seen == await log_of(store) == in_log_order([*appended, *stored])

    async def test_readers_see_whole_restores(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """RESTORE-24: Nobody ever sees a part of a restore."""
        store, second = two_stores

        async def restore_some() -> None:
            for n in range(20):
                one, other = (
                    some_old_events(name, 7, first_version=7 * n + 1, created_at=FAR_AHEAD + n * DAY)
                    for name in ("moved-1", "moved-2")
                )
                await restored(store, in_turn(one, other))
                await let_others_run()

        restoring = asyncio.ensure_future(restore_some())
        while not restoring.done():
            assert len(await log_of(second)) % 14 == 0
            assert await second.stream_version("moved-1") % 7 == 0
            await let_others_run()
        await restoring

    async def test_of_a_restore_and_an_append_at_one_version_one_wins(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RESTORE-25: Of a restore and an append to the same version exactly one is stored; the other is told so."""
        store, second = two_stores
        for n in range(20):
            name = f"order-{n}"
            old = await restored(store, some_old_events(name, n % 2)) if n % 2 else []
            events = some_old_events(name, 2, first_version=n % 2 + 1, created_at=FAR_AHEAD)
            restoring = asyncio.ensure_future(restore(second, events))
            await let_others_run(n // 4)
            stored, failed = await outcomes_of(store.append(name, some_events(2), expected_version=n % 2))
            outcome = await restoring
            if isinstance(outcome, Conflict):
                assert failed == []
                assert outcome == Conflict((StreamState(name, n % 2 + 2, deleted=False),), ())
                assert await stream_of(store, name) == [*old, *stored[0]]
            else:
                assert [type(error) for error in failed] == [WrongExpectedVersion]
                found = await stream_of(store, name)
                assert [event.event_id for event in found[n % 2 :]] == [event.event.event_id for event in events]

    async def test_the_same_restore_at_the_same_time_is_stored_once(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RESTORE-26: Of one restore sent by many at once one is stored; the others find it, all of it."""
        events = in_turn(*(some_old_events(f"order-{n}", 5) for n in range(4)))
        outcomes = await asyncio.gather(*(restore(two_stores[n % 2], events) for n in range(10)))
        log = await log_of(two_stores[0])
        conflicts = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
        assert [outcome for outcome in outcomes if not isinstance(outcome, Conflict)] == [tuple(positions(log))]
        assert [event.event_id for event in log] == [event.event.event_id for event in events]
        for conflict in conflicts:
            assert in_log_order(conflict.stored) == log
            assert conflict.streams == tuple(StreamState(f"order-{n}", 5, deleted=False) for n in range(4))

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 25])
    async def test_a_cancelled_restore_happened_wholly_or_not_at_all(self, store: EventStore, turns: int) -> None:
        """RESTORE-27: A restore cancelled at any point is whole or absent; sent again, it tells."""
        check_claimed(store, Capability.RESTORE)
        for attempt in range(5):
            name = f"cancelled-{attempt}"
            events = in_turn(some_old_events(name, 3), some_old_events(f"{name}-too", 3))
            restoring = asyncio.ensure_future(restore(store, events))
            await let_others_run(turns)
            restoring.cancel()
            await asyncio.wait([restoring])
            await check_whole_or_absent(store, events)
            if not restoring.cancelled():
                assert restoring.result() == tuple(positions((await log_of(store))[-6:]))

    @pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
    async def test_a_restore_that_loses_its_connection_happened_wholly_or_not_at_all(
        self, cut_connection: Line, after_commit: bool
    ) -> None:
        """RESTORE-28: Cut off before or after its commit, a restore is whole or absent; sent again, it tells."""
        events = in_turn(some_old_events("cut-1", 3), some_old_events("cut-2", 3))
        async with cut_connection.make_store(retry_timeout=0) as store:
            await warm_up(store)
            lose(cut_connection, after_commit=after_commit)
            with pytest.raises(StoreUnavailable):
                await restore(store, events)
        async with cut_connection.make_store() as store:
            await check_whole_or_absent(store, events)


async def check_whole_or_absent(store: EventStore, events: list[RestoredEvent]) -> None:
    """Check that all of a restore is stored, or none of it, and send it again: then it is."""
    ids = [event.event.event_id for event in events]
    found = [event for event in await log_of(store) if event.event_id in ids]
    assert len(found) in (0, len(events))
    outcome = await restore(store, events)
    if isinstance(outcome, Conflict):
        assert in_log_order(outcome.stored) == found
    assert [event.event_id for event in (await log_of(store))[-len(ids) :]] == ids

"""Chapter Restore, continued: streams of which all events were truncated, before they are restored once more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from eventstore import NO_STREAM, Capability, EventStore, StreamInfo, WrongExpectedVersion
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import (
    collect,
    let_others_run,
    log_of,
    nothing_written,
    outcomes_of,
    stream_of,
    streams_of,
    versions,
)
from eventstore_conformance.outcomes import check_claimed
from eventstore_conformance.primitives import (
    FAR_AHEAD,
    LONG_AGO,
    Conflict,
    StreamState,
    an_old_event,
    refused,
    restore_stream,
    restored,
    some_old_events,
)
from eventstore_conformance.verify import verified

EMPTY = ("appended-1", "restored-1", "moved-1")


class RestoredStreams(Chapter):
    """A stream whose events were all truncated follows another store, where it has gone on and is empty as well."""

    async def test_an_empty_stream_goes_further(self, store: EventStore) -> None:
        """RESTORE-29: `restore_stream` lets an empty stream be at a higher version; nothing else of it changes."""
        await empty_streams(store, version=2)
        kept = await store.append("kept-1", some_events(2), expected_version=NO_STREAM)
        for name in EMPTY:
            await store.save_snapshot(name, 2, {"of": name})
            for version in (3, 7, 2**40):
                assert await restore_stream(store, name, version) is None
                expected = StreamInfo(name, name.partition("-")[0], version, version + 1, deleted=False)
                assert await store.stream_info(name) == expected
                assert await collect(store.list_streams(prefix=name)) == [expected]
                assert await stream_of(store, name) == []
            snapshot = await store.load_snapshot(name)
            assert snapshot is not None
            assert (snapshot.version, snapshot.data) == (2, {"of": name})
        assert await log_of(store) == kept
        assert len(await streams_of(store)) == len(EMPTY) + 1

    async def test_an_empty_stream_that_is_there_already_stays(self, store: EventStore) -> None:
        """RESTORE-30: Where an empty stream is at the version already, None is returned, and nothing changes."""
        await empty_streams(store, version=2)
        for version in (2, 5):
            for name in EMPTY:
                await restore_stream(store, name, version)
            async with nothing_written(store):
                for name in EMPTY * 2:
                    assert await restore_stream(store, name, version) is None

    async def test_a_stream_goes_on_from_where_it_went(self, store: EventStore) -> None:
        """RESTORE-31: Behind the higher version a restore or an append goes on; what is skipped is never taken."""
        await empty_streams(store, version=2)
        for name in EMPTY:
            await restore_stream(store, name, 7)
            async with nothing_written(store):
                for first_version in (1, 3, 7, 9):
                    conflict = await refused(store, some_old_events(name, 2, first_version=first_version))
                    assert conflict == Conflict((StreamState(name, 7, deleted=False),), ())
                for expected_version in (NO_STREAM, 2, 6, 8):
                    with pytest.raises(WrongExpectedVersion):
                        await store.append(name, some_events(1), expected_version=expected_version)
            events = await store.append(name, some_events(2), expected_version=7)
            events += await restored(store, some_old_events(name, 2, first_version=10, created_at=FAR_AHEAD))
            assert versions(events) == [8, 9, 10, 11]
            assert await stream_of(store, name) == events
            info = StreamInfo(name, name.partition("-")[0], 11, 8, deleted=False)
            assert await store.stream_info(name) == info
            assert await store.truncate_stream(name, 99) == 4
            assert await restore_stream(store, name, 13) is None
        verification = await verified(store)
        assert (verification.events, verification.streams) == (0, len(EMPTY))

    async def test_the_time_of_an_empty_stream_does_not_go_back(self, store: EventStore) -> None:
        """RESTORE-32: What follows gets no time before that of the last event that the stream had."""
        names = ("appended-1", "restored-1")
        for name in names:
            await restored(store, [an_old_event(name, 1, FAR_AHEAD)])
            await store.truncate_stream(name, 2)
            for version in (3, 7, 7):
                await restore_stream(store, name, version)
        appended, continued = names
        async with nothing_written(store):
            for earlier in (LONG_AGO, FAR_AHEAD - timedelta(microseconds=1)):
                conflict = await refused(store, [an_old_event(continued, 8, earlier)])
                assert conflict == Conflict((StreamState(continued, 7, deleted=False),), ())
        await restored(store, [an_old_event(continued, 8, FAR_AHEAD)])
        (event,) = await store.append(appended, some_events(1), expected_version=7)
        assert event.created_at >= FAR_AHEAD

    # --- Races -------------------------------------------------------------------------------------------------------

    async def test_of_an_append_and_a_stream_that_goes_further_one_wins(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RESTORE-33: Of an append to an empty stream and its going further one is done; the other is told so."""
        store, second = two_stores
        check_claimed(store, Capability.RESTORE)
        for n in range(20):
            name, version = f"order-{n}", n % 2 * 3
            if version:
                await restore_stream(store, name, version)
            going = asyncio.ensure_future(restore_stream(second, name, 5))
            await let_others_run(n // 4)
            stored, failed = await outcomes_of(store.append(name, some_events(1), expected_version=version))
            state = await going
            if state is None:
                assert [type(error) for error in failed] == [WrongExpectedVersion]
                assert await stream_of(store, name) == []
                assert await store.stream_version(name) == 5
            else:
                assert failed == []
                assert state == StreamState(name, version + 1, deleted=False)
                assert await stream_of(store, name) == stored[0]

    async def test_a_stream_that_many_let_go_further_ends_at_the_highest(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """RESTORE-34: Of many who let one stream go further nobody takes it back; who comes too late is told."""
        store = two_stores[0]
        for n in range(10):
            name = f"order-{n}"
            wanted = [4, 2, 9, 6, 9, 3, 7, 5]
            going = (restore_stream(two_stores[place % 2], name, version) for place, version in enumerate(wanted))
            for version, state in zip(wanted, await asyncio.gather(*going), strict=True):
                assert state is None or (state.stream_id, state.deleted) == (name, False)
                assert state is None or state.version in range(version + 1, 10)
            assert await store.stream_info(name) == StreamInfo(name, "order", 9, 10, deleted=False)


async def empty_streams(store: EventStore, version: int) -> None:
    """Let there be streams of which no event is left: one appended to, one restored, one that came without events."""
    check_claimed(store, Capability.RESTORE)
    appended, old, moved = EMPTY
    await store.append(appended, some_events(version), expected_version=NO_STREAM)
    await restored(store, some_old_events(old, version))
    for name in (appended, old):
        await store.truncate_stream(name, version + 1)
    await restore_stream(store, moved, version)

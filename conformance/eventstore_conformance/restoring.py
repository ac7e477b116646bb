"""Chapter Restore: what another store recorded keeps its versions and times, where the backend claims `RESTORE`."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from eventstore import (
    ANY,
    NO_STREAM,
    Capability,
    DuplicateEventId,
    EventStore,
    Filter,
    NewEvent,
    StreamDeleted,
    StreamInfo,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter, MakeStore
from eventstore_conformance.data import EXACT_VALUES
from eventstore_conformance.making import PECULIAR_NAMES, an_event, some_events
from eventstore_conformance.observing import (
    collect,
    ids_in,
    in_log_order,
    is_growing,
    log_of,
    nothing_written,
    positions,
    same_json,
    stream_of,
    streams_of,
    versions,
)
from eventstore_conformance.outcomes import NotClaimed
from eventstore_conformance.primitives import (
    FAR_AHEAD,
    LONG_AGO,
    Conflict,
    RestoredEvent,
    StreamState,
    an_old_event,
    in_turn,
    refused,
    restore_stream,
    restored,
    restores_unclaimed,
    some_old_events,
)
from eventstore_conformance.verify import verified

SECOND = timedelta(seconds=1)


class Restore(Chapter):
    """The primitives `restore` and `restore_stream` of a backend, by which a store is moved into another."""

    # --- What is kept ------------------------------------------------------------------------------------------------

    async def test_restored_events_are_read_as_they_were_recorded(self, store: EventStore) -> None:
        """RESTORE-01: Versions, ids, types, payloads, times to the microsecond are kept; positions are as returned."""
        if Capability.RESTORE not in store.capabilities:
            raise NotClaimed(Capability.RESTORE, works=await restores_unclaimed(store))
        times = [LONG_AGO, LONG_AGO, datetime.fromisoformat("2001-09-09T01:46:39.999999Z"), FAR_AHEAD]
        events = [
            an_old_event("order-1", n, created_at, event_type=f"Old{n}", data={"n": [n]}, metadata={"m": n})
            for n, created_at in enumerate(times, 1)
        ]
        expected = await restored(store, events)
        assert await stream_of(store, "order-1") == await log_of(store) == expected
        assert {event.created_at.utcoffset() for event in await log_of(store)} == {timedelta(0)}

    async def test_positions_grow_in_the_order_of_the_list(self, store: EventStore) -> None:
        """RESTORE-02: Events of alternating streams stand in the log as listed, behind all that was there before."""
        log = await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        streams = ["zebra-1", "ant-1", "mule-1"]
        log += await restored(store, in_turn(*(some_old_events(name, 5) for name in streams)))
        assert await store.head() == log[-1].global_position
        later = [some_old_events(name, 2, first_version=6, created_at=FAR_AHEAD) for name in streams[::-1]]
        log += await restored(store, in_turn(*later))
        log += await store.append("old-1", some_events(2), expected_version=2)
        assert is_growing(positions(log))
        assert await log_of(store) == log
        for name in streams:
            assert await stream_of(store, name) == [event for event in log if event.stream_id == name]

    async def test_names_and_payloads_are_plain_data_to_restore(self, store: EventStore) -> None:
        """RESTORE-03: What a store can have recorded is restored as it is: any name, any value of the data model."""
        events = [an_old_event(name, 1, LONG_AGO, event_type=name) for name in PECULIAR_NAMES]
        payloads = [{"value": value} for value in EXACT_VALUES]
        for version, payload in enumerate(payloads, 1):
            events.append(an_old_event("exact-1", version, LONG_AGO, data=payload, metadata=payload))
        expected = await restored(store, events)
        assert await log_of(store) == expected
        for event, payload in zip(await stream_of(store, "exact-1"), payloads, strict=True):
            assert same_json(event.data, payload), event.data
            assert same_json(event.metadata, payload), event.metadata

    async def test_many_events_of_many_streams_are_restored_in_one_call(self, store: EventStore) -> None:
        """RESTORE-04: A thousand events of three hundred streams are one restore, in the order of the list."""
        next_versions = dict.fromkeys((f"stream-{n}" for n in range(300)), 1)
        events: list[RestoredEvent] = []
        for n in range(1_000):
            name = f"stream-{n * n % 300 if n % 3 else n % 300}"
            events.append(an_old_event(name, next_versions[name], LONG_AGO + n * SECOND))
            next_versions[name] += 1
        events += [an_old_event(name, 1, LONG_AGO) for name, version in next_versions.items() if version == 1]
        expected = await restored(store, events)
        assert is_growing(positions(expected))
        assert await log_of(store) == expected
        assert len(await streams_of(store)) == 300
        assert await stream_of(store, "stream-1") == [event for event in expected if event.stream_id == "stream-1"]

    async def test_a_restored_stream_is_continued_by_an_append(self, store: EventStore) -> None:
        """RESTORE-05: An append gets the next version, and no time before the restored one, whatever the clock says."""
        expected = await restored(store, some_old_events("late-1", 3, created_at=FAR_AHEAD))
        await restored(store, some_old_events("early-1", 3))
        with pytest.raises(WrongExpectedVersion):
            await store.append("late-1", some_events(1), expected_version=NO_STREAM)
        for version in (3, 5):
            expected += await store.append("late-1", some_events(2), expected_version=version)
        await store.append("early-1", some_events(1), expected_version=3)
        assert await stream_of(store, "late-1") == expected
        assert versions(expected) == [1, 2, 3, 4, 5, 6, 7]
        times = [event.created_at for event in expected]
        assert times == sorted(times)
        assert (await stream_of(store, "early-1"))[-1].created_at < FAR_AHEAD

    async def test_any_stream_is_continued_by_a_restore(self, store: EventStore) -> None:
        """RESTORE-06: A restore goes on where an append or another restore has ended."""
        expected = await store.append("mixed-1", some_events(2), expected_version=NO_STREAM)
        expected += await restored(store, some_old_events("mixed-1", 2, first_version=3, created_at=FAR_AHEAD))
        last = expected[-1].created_at
        expected += await restored(store, some_old_events("mixed-1", 2, first_version=5, created_at=last))
        assert await stream_of(store, "mixed-1") == expected
        assert versions(expected) == [1, 2, 3, 4, 5, 6]

    async def test_an_append_of_what_was_restored_is_known(self, store: EventStore) -> None:
        """RESTORE-07: An append of what was restored is answered with it, as a batch sent again; elsewhere refused."""
        batch = [an_event(data={"n": n}, metadata={"m": n}) for n in range(3)]
        expected = await restored(store, [as_old(event, "moved-1", n) for n, event in enumerate(batch, 1)])
        assert await store.append("moved-1", batch, expected_version=NO_STREAM) == expected
        with pytest.raises(DuplicateEventId):
            await store.append("other-1", batch[1:2], expected_version=ANY)
        assert await log_of(store) == expected

    # --- Where it is read --------------------------------------------------------------------------------------------

    async def test_restored_events_are_read_in_every_way(self, small_pages_store: EventStore) -> None:
        """RESTORE-08: A restored stream is read, listed and described like one that was appended here."""
        store = small_pages_store
        log = await restored(store, in_turn(some_old_events("order-2", 7), some_old_events("order-1", 7)))
        stream = log[1::2]
        assert await collect(store.read_stream("order-1", backward=True)) == stream[::-1]
        assert await collect(store.read_stream("order-1", from_version=3, to_version=6)) == stream[2:6]
        assert await collect(store.read_all(backward=True)) == log[::-1]
        assert await collect(store.read_all(after=log[4].global_position)) == log[5:]
        assert await store.stream_version("order-1") == 7
        infos = [StreamInfo(name, "order", 7, 1, deleted=False) for name in ("order-1", "order-2")]
        assert await store.stream_info("order-1") == infos[0]
        assert await streams_of(store) == infos
        assert await ids_in(store.list_streams(stream_type="order", prefix="order-1")) == ["order-1"]

    async def test_filters_know_restored_events(self, store: EventStore) -> None:
        """RESTORE-09: Filters find restored events by type, prefix and time, in whatever order the times stand."""
        times = [LONG_AGO + n * SECOND for n in (50, 10, 90, 0, 40, 70)]
        names = ("order-1", "orders-1", "order-2", "cart-1", "order-3", "cart-2")
        events = [
            an_old_event(name, 1, created_at, event_type="Even" if n % 2 else "Odd")
            for n, (name, created_at) in enumerate(zip(names, times, strict=True), 1)
        ]
        log = await restored(store, events)
        log += await store.append("order-4", [an_event("Even")], expected_version=NO_STREAM)
        for known in (
            Filter(stream_types=["order"]),
            Filter(stream_id_prefix="cart-"),
            Filter(event_types=["Even"]),
            Filter(created_from=LONG_AGO + 40 * SECOND),
            Filter(created_to=LONG_AGO + 40 * SECOND),
            Filter(created_from=LONG_AGO + 10 * SECOND, created_to=LONG_AGO + 70 * SECOND, event_types=["Odd"]),
        ):
            expected = [event for event in log if known.matches(event)]
            assert 0 < len(expected) < len(log)
            assert await collect(store.read_all(filter=known)) == expected
            assert await collect(store.read_all(filter=known, backward=True)) == expected[::-1]

    # --- What is refused ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("version", [1, 2, 3, 5, 9])
    async def test_a_version_that_does_not_follow_is_refused(self, store: EventStore, version: int) -> None:
        """RESTORE-10: Where the first version is not the next one, nothing is stored, and the conflict says what is."""
        await restored(store, some_old_events("order-1", 3))
        async with nothing_written(store):
            conflict = await refused(store, some_old_events("order-1", 2, first_version=version, created_at=FAR_AHEAD))
            assert conflict == Conflict((StreamState("order-1", 3, deleted=False),), ())
            conflict = await refused(store, some_old_events("new-1", 2, first_version=version + 1))
            assert conflict == Conflict((StreamState("new-1", 0, deleted=False),), ())

    async def test_one_stream_that_does_not_fit_refuses_all(self, store: EventStore) -> None:
        """RESTORE-11: Where the last of many streams is wrong, nothing is stored; all states return, in their order."""
        await restored(store, some_old_events("first-1", 2))
        names = [f"stream-{(n * 83) % 211}" for n in range(211)]
        wrong = some_old_events("wrong-1", 1, first_version=2)
        late = some_old_events("first-1", 1, first_version=3, created_at=FAR_AHEAD)
        events = [event for name in names for event in some_old_events(name, 2)]
        async with nothing_written(store):
            conflict = await refused(store, [*late, *events, *wrong])
        expected = [StreamState(name, 0, deleted=False) for name in (*names, "wrong-1")]
        assert conflict == Conflict((StreamState("first-1", 2, deleted=False), *expected), ())
        await restored(store, [*late, *events])

    async def test_an_id_that_is_stored_is_refused(self, store: EventStore) -> None:
        """RESTORE-12: An id that is in the store, in whatever stream, comes back in the conflict as recorded."""
        appended = await store.append("order-1", some_events(2), expected_version=NO_STREAM)
        known = await restored(store, some_old_events("order-2", 2))
        for old in (*appended, *known):
            for name, first_version in (("order-1", 3), ("new-1", 1)):
                events = some_old_events(name, 4, first_version=first_version, created_at=FAR_AHEAD)
                reused = replace(events[2], event=replace(events[2].event, event_id=old.event_id))
                async with nothing_written(store):
                    conflict = await refused(store, [*events[:2], reused, events[3]])
                assert conflict.stored == (old,)
                assert conflict.streams == (StreamState(name, first_version - 1, deleted=False),)

    async def test_a_restore_sent_again_finds_all_of_it_stored(self, store: EventStore) -> None:
        """RESTORE-13: The same restore sent again is a conflict with all of its events, as they were restored."""
        events = in_turn(some_old_events("order-1", 120), some_old_events("order-2", 120))
        expected = await restored(store, events)
        await store.append("order-1", some_events(1), expected_version=120)
        async with nothing_written(store):
            conflict = await refused(store, events)
        assert in_log_order(conflict.stored) == expected
        assert conflict.streams == tuple(
            StreamState(name, version, deleted=False) for name, version in (("order-1", 121), ("order-2", 120))
        )

    @pytest.mark.parametrize("erase", [False, True], ids=["delete", "erase"])
    async def test_a_deleted_stream_is_not_restored(self, store: EventStore, erase: bool) -> None:
        """RESTORE-14: On a stream with a tombstone nothing is restored, be it next in version or from the beginning."""
        await restored(store, some_old_events("gone-1", 2))
        await store.delete_stream("gone-1", expected_version=2, erase=erase)
        await store.delete_stream("never-1", expected_version=NO_STREAM, erase=erase)
        async with nothing_written(store):
            for name, version in (("gone-1", 2), ("never-1", 0)):
                for first_version in {1, version + 1}:
                    events = some_old_events(name, 2, first_version=first_version, created_at=FAR_AHEAD)
                    conflict = await refused(store, [*some_old_events("new-1", 1), *events])
                    new = StreamState("new-1", 0, deleted=False)
                    assert conflict == Conflict((new, StreamState(name, version, deleted=True)), ())

    async def test_time_does_not_go_back_in_a_stream(self, store: EventStore) -> None:
        """RESTORE-15: A first time before that of the stream's last event is refused; the same time follows."""
        (appended,) = await store.append("order-1", some_events(1), expected_version=NO_STREAM)
        (known,) = await restored(store, [an_old_event("order-2", 1, FAR_AHEAD)])
        for last in (appended, known):
            name, time = last.stream_id, last.created_at
            async with nothing_written(store):
                for earlier in (time - timedelta(microseconds=1), LONG_AGO):
                    conflict = await refused(store, [an_old_event(name, 2, earlier)])
                    assert conflict == Conflict((StreamState(name, 1, deleted=False),), ())
            expected = [last, *await restored(store, [an_old_event(name, 2, time)])]
            assert await stream_of(store, name) == expected

    # --- Streams without events --------------------------------------------------------------------------------------

    async def test_a_stream_is_restored_without_its_events(self, store: EventStore) -> None:
        """RESTORE-16: `restore_stream` lets a stream be at a version with no event left, as if all were truncated."""
        kept = await store.append("kept-1", some_events(2), expected_version=NO_STREAM)
        for name, version in (("empty-1", 7), ("empty-2", 1), ("empty-3", 2**40)):
            assert await restore_stream(store, name, version) is None
            expected = StreamInfo(name, "empty", version, version + 1, deleted=False)
            assert await store.stream_info(name) == expected
            assert await store.stream_version(name) == version
            assert await collect(store.list_streams(prefix=name)) == [expected]
            assert await stream_of(store, name) == []
        assert await log_of(store) == kept

    async def test_a_stream_restored_without_its_events_goes_on(self, store: EventStore) -> None:
        """RESTORE-17: Behind its version a restore, of whatever time, or an append goes on; below it is nothing."""
        for name in ("moved-1", "moved-2"):
            await restore_stream(store, name, 7)
            async with nothing_written(store):
                for first_version in (1, 7, 9):
                    conflict = await refused(store, some_old_events(name, 2, first_version=first_version))
                    assert conflict == Conflict((StreamState(name, 7, deleted=False),), ())
                for expected in (NO_STREAM, 6, 8):
                    with pytest.raises(WrongExpectedVersion):
                        await store.append(name, some_events(1), expected_version=expected)
        first = await restored(store, some_old_events("moved-1", 2, first_version=8))
        first += await store.append("moved-1", some_events(2), expected_version=9)
        second = await store.append("moved-2", some_events(2), expected_version=7)
        for name, events in (("moved-1", first), ("moved-2", second)):
            assert versions(events) == list(range(8, 8 + len(events)))
            assert await stream_of(store, name) == events
            assert await collect(store.read_stream(name, backward=True)) == events[::-1]
            expected_info = StreamInfo(name, "moved", events[-1].version, 8, deleted=False)
            assert await store.stream_info(name) == expected_info

    async def test_a_stream_that_is_there_is_not_restored_over(self, store: EventStore) -> None:
        """RESTORE-18: Where a stream has an event, a higher version or a tombstone, its state returns, and stays."""
        await store.append("appended-1", some_events(2), expected_version=NO_STREAM)
        await restored(store, some_old_events("restored-1", 2))
        for name, before_version in (("truncated-1", 2), ("emptied-1", 99)):
            await store.append(name, some_events(2), expected_version=NO_STREAM)
            await store.truncate_stream(name, before_version)
        await restore_stream(store, "empty-1", 2)
        for name, erase in (("deleted-1", False), ("erased-1", True)):
            await store.append(name, some_events(2), expected_version=NO_STREAM)
            await store.delete_stream(name, expected_version=2, erase=erase)
        await store.delete_stream("never-1", expected_version=NO_STREAM)
        async with nothing_written(store):
            for info in await streams_of(store):
                for version in (1,) if info.stream_id in ("emptied-1", "empty-1") else (1, 2, 9):
                    state = await restore_stream(store, info.stream_id, version)
                    assert state == StreamState(info.stream_id, info.version, info.deleted)

    # --- Like any other ----------------------------------------------------------------------------------------------

    async def test_what_was_restored_is_used_like_any_other(self, store: EventStore) -> None:
        """RESTORE-19: Restored streams take snapshots, are truncated, deleted and erased, with and without events."""
        for name in ("cut-1", "gone-1", "erased-1"):
            await restored(store, some_old_events(name, 5))
        await restore_stream(store, "empty-1", 5)
        for name in ("cut-1", "gone-1", "empty-1"):
            await store.save_snapshot(name, 5, {"of": name})
            snapshot = await store.load_snapshot(name)
            assert snapshot is not None
            assert (snapshot.version, snapshot.data) == (5, {"of": name})
        assert await store.truncate_stream("cut-1", 4) == 3
        assert await store.truncate_stream("empty-1", 99) == 0
        for name, erase in (("gone-1", False), ("erased-1", True), ("empty-1", False)):
            await store.delete_stream(name, expected_version=5, erase=erase)
            with pytest.raises(StreamDeleted):
                await store.append(name, some_events(1), expected_version=ANY)
        assert versions(await stream_of(store, "cut-1")) == [4, 5]
        assert [event.stream_id for event in await log_of(store)] == ["cut-1"] * 2 + ["gone-1"] * 5
        assert await streams_of(store) == [
            StreamInfo("cut-1", "cut", 5, 4, deleted=False),
            StreamInfo("empty-1", "empty", 5, 6, deleted=True),
            StreamInfo("erased-1", "erased", 5, 6, deleted=True),
            StreamInfo("gone-1", "gone", 5, 1, deleted=True),
        ]

    async def test_what_was_restored_is_sound(self, store: EventStore) -> None:
        """RESTORE-20: `verify` finds nothing wrong with what was restored, refused, continued and removed."""
        await restored(store, in_turn(*(some_old_events(f"{name}-1", 5) for name in ("kept", "cut", "gone"))))
        await restore_stream(store, "empty-1", 7)
        await restore_stream(store, "moved-1", 7)
        await restored(store, some_old_events("moved-1", 2, first_version=8))
        await refused(store, [*some_old_events("new-1", 2), *some_old_events("kept-1", 1)])
        verification = await verified(store)
        assert (verification.events, verification.streams) == (17, 5)
        assert verification.head == await store.head()
        await store.append("moved-1", some_events(1), expected_version=9)
        await store.truncate_stream("cut-1", 4)
        await store.delete_stream("gone-1", expected_version=5, erase=True)
        verification = await verified(store)
        assert (verification.events, verification.streams) == (10, 5)

    async def test_what_was_restored_survives_reopening(self, make_store: MakeStore, reopen: MakeStore) -> None:
        """RESTORE-21: A `DURABLE` store has what was restored when it is opened again, and goes on as it would have."""
        events = in_turn(some_old_events("late-1", 3, created_at=FAR_AHEAD), some_old_events("early-1", 3))
        async with make_store() as store:
            expected = await restored(store, events)
            for version in (3, 7):
                await restore_stream(store, "empty-1", version)
            streams = await streams_of(store)
        async with reopen() as store:
            if Capability.DURABLE not in store.capabilities:
                raise NotClaimed(Capability.DURABLE, works=bool(await log_of(store)))
            assert await log_of(store) == expected
            assert await streams_of(store) == streams
            assert in_log_order((await refused(store, events)).stored) == expected
            assert await restore_stream(store, "empty-1", 3) == StreamState("empty-1", 7, deleted=False)
            (late,) = await store.append("late-1", some_events(1), expected_version=3)
            (empty,) = await store.append("empty-1", some_events(1), expected_version=7)
            assert late.created_at >= expected[-2].created_at
            assert is_growing(positions([*expected, late, empty]))
            assert (late.version, empty.version) == (4, 8)


def as_old(event: NewEvent, stream_id: str, version: int) -> RestoredEvent:
    """Return an event as another store has recorded it."""
    return an_old_event(
        stream_id,
        version,
        LONG_AGO,
        event_type=event.event_type,
        event_id=event.event_id,
        data=event.data,
        metadata=event.metadata,
    )

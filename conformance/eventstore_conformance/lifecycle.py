"""Chapter Lifecycle: truncating, deleting and erasing streams."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    DuplicateEventId,
    EventStore,
    ExpectedVersion,
    InvalidArgument,
    StreamDeleted,
    StreamInfo,
    WrongExpectedVersion,
)
from eventstore_conformance.append import MET, UNMET
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import BAD_COUNTS, BAD_NAMES, BAD_VERSIONS, some_events
from eventstore_conformance.observing import collect, log_of, nothing_written, outcomes_of, stream_of, versions


class Truncate(Chapter):
    """`truncate_stream`."""

    @pytest.mark.parametrize("before", [1, 2, 5, 6, 7, 1_000, 2**63 - 1])
    async def test_the_events_below_are_removed(self, store: EventStore, before: int) -> None:
        """TRUNCATE-01: Events below the version are gone from the stream and from the log; their number is returned."""
        await store.append("cart-10", some_events(2), expected_version=NO_STREAM)
        recorded = await store.append("cart-1", some_events(5), expected_version=NO_STREAM)
        other = await store.append("cart-10", some_events(2), expected_version=2)
        left = recorded[before - 1 :]
        assert await store.truncate_stream("cart-1", before) == 5 - len(left)
        assert await stream_of(store, "cart-1") == left
        assert await collect(store.read_stream("cart-1", backward=True)) == left[::-1]
        assert (await log_of(store))[2:] == [*left, *other]

    async def test_versions_go_on(self, store: EventStore) -> None:
        """TRUNCATE-02: The stream's version stays, also when nothing is left, and the next event gets the next one."""
        await store.append("cart-1", some_events(5), expected_version=NO_STREAM)
        await store.truncate_stream("cart-1", 4)
        assert await store.stream_version("cart-1") == 5
        await store.truncate_stream("cart-1", 99)
        assert await store.stream_info("cart-1") == StreamInfo("cart-1", "cart", 5, 6, deleted=False)
        with pytest.raises(WrongExpectedVersion) as refusal:
            await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        assert refusal.value.actual == 5
        (recorded,) = await store.append("cart-1", some_events(1), expected_version=STREAM_EXISTS)
        assert recorded.version == 6
        assert await stream_of(store, "cart-1") == [recorded]
        (recorded,) = await store.append("cart-1", some_events(1), expected_version=6)
        assert recorded.version == 7

    async def test_truncating_again_removes_what_was_left(self, store: EventStore) -> None:
        """TRUNCATE-03: Each truncation counts what it removed itself."""
        await store.append("cart-1", some_events(5), expected_version=NO_STREAM)
        counts = [await store.truncate_stream("cart-1", before) for before in (3, 3, 2, 5, 99, 99)]
        assert counts == [2, 0, 0, 2, 1, 0]

    async def test_a_missing_stream_has_nothing_to_remove(self, store: EventStore) -> None:
        """TRUNCATE-04: Truncating a stream that does not exist removes 0 events and makes no stream."""
        async with nothing_written(store):
            assert await store.truncate_stream("cart-1", 5) == 0
        assert await store.stream_info("cart-1") is None

    @pytest.mark.parametrize("erase", [False, True], ids=["deleted", "erased"])
    async def test_a_deleted_stream_is_not_truncated(self, store: EventStore, erase: bool) -> None:
        """TRUNCATE-05: Truncating a deleted stream raises `StreamDeleted`; its events stay in the log."""
        await store.append("cart-1", some_events(5), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=5, erase=erase)
        async with nothing_written(store):
            with pytest.raises(StreamDeleted):
                await store.truncate_stream("cart-1", 3)

    async def test_bounds_are_versions_also_after_truncation(self, small_pages_store: EventStore) -> None:
        """TRUNCATE-06: In a truncated stream, bounds and limits mean versions and events as ever."""
        store = small_pages_store
        await store.append("cart-1", some_events(20), expected_version=NO_STREAM)
        await store.truncate_stream("cart-1", 8)
        assert versions(await collect(store.read_stream("cart-1", limit=4))) == [8, 9, 10, 11]
        assert versions(await collect(store.read_stream("cart-1", from_version=5, to_version=9))) == [8, 9]
        assert versions(await collect(store.read_stream("cart-1", to_version=7))) == []
        assert versions(await collect(store.read_stream("cart-1", to_version=12, limit=99))) == [8, 9, 10, 11, 12]
        backward = store.read_stream("cart-1", from_version=5, to_version=12, backward=True)
        assert versions(await collect(backward)) == [12, 11, 10, 9, 8]

    async def test_a_batch_of_which_a_part_is_truncated_is_not_sent_again(self, store: EventStore) -> None:
        """TRUNCATE-07: A batch sent again after a part of it was removed raises `DuplicateEventId`."""
        batch = some_events(4)
        await store.append("cart-1", batch, expected_version=NO_STREAM)
        await store.truncate_stream("cart-1", 3)
        for expected in (NO_STREAM, ANY, 0):
            async with nothing_written(store):
                with pytest.raises(DuplicateEventId):
                    await store.append("cart-1", batch, expected_version=expected)

    async def test_a_truncated_batch_sent_again_meets_the_version(self, store: EventStore) -> None:
        """TRUNCATE-08: A batch sent again after it was removed raises `WrongExpectedVersion` where it was exact."""
        batch = some_events(2)
        await store.append("cart-1", batch, expected_version=NO_STREAM)
        await store.truncate_stream("cart-1", 99)
        async with nothing_written(store):
            for expected in (NO_STREAM, 0):
                with pytest.raises(WrongExpectedVersion) as refusal:
                    await store.append("cart-1", batch, expected_version=expected)
                assert refusal.value.actual == 2

    @pytest.mark.parametrize("bad", [0, None, *BAD_COUNTS], ids=repr)
    async def test_a_bad_version_to_truncate_at_is_refused(self, store: EventStore, bad: Any) -> None:
        """TRUNCATE-09: `before_version` is an integer from 1 on."""
        await store.append("cart-1", some_events(2), expected_version=NO_STREAM)
        async with nothing_written(store):
            with pytest.raises(InvalidArgument):
                await store.truncate_stream("cart-1", bad)

    async def test_truncating_beside_appends_is_consistent(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """TRUNCATE-10: Racing with appends, a truncation removes what is below; every append goes on from the end."""
        store, second = two_stores
        await store.append("cart-1", some_events(10), expected_version=NO_STREAM)
        results, errors = await outcomes_of(
            *(second.append("cart-1", some_events(2), expected_version=ANY) for _ in range(5)),
            *(store.truncate_stream("cart-1", before) for before in (3, 6, 9)),
            *(second.append("cart-1", some_events(2), expected_version=ANY) for _ in range(5)),
        )
        assert errors == []
        assert sum(result for result in results if isinstance(result, int)) == 8
        assert versions(await stream_of(store, "cart-1")) == list(range(9, 31))


class Delete(Chapter):
    """`delete_stream`."""

    @pytest.mark.parametrize("erase", [False, True], ids=["delete", "erase"])
    @pytest.mark.parametrize(("version", "expected"), MET)
    async def test_a_stream_that_meets_the_expectation_is_deleted(
        self, store: EventStore, version: int, expected: ExpectedVersion, erase: bool
    ) -> None:
        """DELETE-01: With a met expectation the stream is deleted, be it one that never had an event."""
        if version:
            await store.append("cart-1", some_events(version), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=expected, erase=erase)
        first = version + 1 if erase else 1
        assert await store.stream_info("cart-1") == StreamInfo("cart-1", "cart", version, first, deleted=True)

    @pytest.mark.parametrize("erase", [False, True], ids=["delete", "erase"])
    @pytest.mark.parametrize(("version", "expected"), UNMET)
    async def test_a_stream_that_does_not_is_kept(
        self, store: EventStore, version: int, expected: ExpectedVersion, erase: bool
    ) -> None:
        """DELETE-02: With an unmet expectation `WrongExpectedVersion` is raised and nothing changes."""
        if version:
            await store.append("cart-1", some_events(version), expected_version=NO_STREAM)
        async with nothing_written(store):
            with pytest.raises(WrongExpectedVersion) as refusal:
                await store.delete_stream("cart-1", expected_version=expected, erase=erase)
        assert refusal.value.mismatches == (("cart-1", expected, version),)

    @pytest.mark.parametrize("count", [0, 5])
    async def test_a_deleted_stream_is_not_read(self, store: EventStore, count: int) -> None:
        """DELETE-03: Reading a deleted stream raises `StreamDeleted`, in either direction, within any bounds."""
        if count:
            await store.append("cart-1", some_events(count), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=ANY)
        for options in ({}, {"backward": True}, {"from_version": 99}, {"limit": 1}, {"to_version": 3}):
            arguments: dict[str, Any] = options
            with pytest.raises(StreamDeleted) as refusal:
                await collect(store.read_stream("cart-1", **arguments))
            assert refusal.value.stream_id == "cart-1"

    async def test_the_events_stay_in_the_log(self, store: EventStore) -> None:
        """DELETE-04: History is history: the events of a deleted stream stay in the log, unchanged."""
        await store.append("other-1", some_events(1), expected_version=NO_STREAM)
        await store.append("cart-1", some_events(3), expected_version=NO_STREAM)
        await store.append("other-1", some_events(1), expected_version=1)
        log = await log_of(store)
        await store.delete_stream("cart-1", expected_version=3)
        assert await log_of(store) == log
        assert await collect(store.read_all(backward=True)) == log[::-1]

    async def test_the_version_is_kept(self, store: EventStore) -> None:
        """DELETE-05: A deleted stream keeps its version, erased or not."""
        await store.append("cart-1", some_events(3), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=3)
        assert await store.stream_version("cart-1") == 3
        await store.delete_stream("cart-1", expected_version=3, erase=True)
        assert await store.stream_version("cart-1") == 3

    @pytest.mark.parametrize("expected", [ANY, 3, STREAM_EXISTS])
    async def test_a_stream_is_deleted_once(self, store: EventStore, expected: ExpectedVersion) -> None:
        """DELETE-06: Deleting again raises `StreamDeleted`."""
        await store.append("cart-1", some_events(3), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=3)
        async with nothing_written(store):
            with pytest.raises(StreamDeleted):
                await store.delete_stream("cart-1", expected_version=expected)

    async def test_a_tombstone_on_a_new_id_keeps_it_from_being_used(self, store: EventStore) -> None:
        """DELETE-07: An id that was never used can be deleted; it is taken from then on."""
        await store.delete_stream("cart-1", expected_version=ANY)
        for expected in (ANY, NO_STREAM, 0):
            with pytest.raises(StreamDeleted):
                await store.append("cart-1", some_events(1), expected_version=expected)
        assert await store.stream_version("cart-1") == 0
        for erase in (False, True):
            with pytest.raises(StreamDeleted):
                await store.delete_stream("cart-1", expected_version=ANY, erase=erase)

    async def test_the_ids_of_a_deleted_streams_events_stay_taken(self, store: EventStore) -> None:
        """DELETE-08: As the events stay, so do their ids: another stream cannot have them."""
        batch = some_events(2)
        await store.append("cart-1", batch, expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=2)
        with pytest.raises(DuplicateEventId):
            await store.append("cart-2", batch, expected_version=NO_STREAM)

    # --- Erasing -------------------------------------------------------------------------------------------------

    async def test_an_erased_streams_events_are_gone_for_good(self, store: EventStore) -> None:
        """DELETE-09: With `erase` the events are gone from the log; all others stay as they are."""
        one = await store.append("cart-10", some_events(1), expected_version=NO_STREAM)
        await store.append("cart-1", some_events(3), expected_version=NO_STREAM)
        two = await store.append("cart-10", some_events(1), expected_version=1)
        await store.delete_stream("cart-1", expected_version=3, erase=True)
        assert await log_of(store) == [*one, *two]
        assert await collect(store.read_all(backward=True)) == [*two, *one]
        with pytest.raises(StreamDeleted):
            await stream_of(store, "cart-1")
        with pytest.raises(StreamDeleted):
            await store.append("cart-1", some_events(1), expected_version=ANY)

    @pytest.mark.parametrize("expected", [ANY, 3, STREAM_EXISTS])
    async def test_a_deleted_stream_can_be_erased_later(self, store: EventStore, expected: ExpectedVersion) -> None:
        """DELETE-10: A stream deleted without `erase` is erased by deleting it again with it, once."""
        await store.append("cart-1", some_events(3), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=3)
        await store.delete_stream("cart-1", expected_version=expected, erase=True)
        assert await log_of(store) == []
        for erase in (False, True):
            with pytest.raises(StreamDeleted):
                await store.delete_stream("cart-1", expected_version=expected, erase=erase)

    async def test_a_truncated_stream_can_be_erased(self, store: EventStore) -> None:
        """DELETE-11: Erasing removes what truncation has left, be it nothing."""
        await store.append("cart-1", some_events(3), expected_version=NO_STREAM)
        await store.append("cart-2", some_events(3), expected_version=NO_STREAM)
        await store.truncate_stream("cart-1", 3)
        await store.truncate_stream("cart-2", 99)
        await store.delete_stream("cart-1", expected_version=3, erase=True)
        await store.delete_stream("cart-2", expected_version=3, erase=True)
        assert await log_of(store) == []
        assert await store.stream_info("cart-2") == StreamInfo("cart-2", "cart", 3, 4, deleted=True)

    # --- Arguments and races -------------------------------------------------------------------------------------

    async def test_bad_arguments_are_refused(self, store: EventStore) -> None:
        """DELETE-12: Bad stream ids and bad expected versions raise `InvalidArgument`; nothing changes."""
        async with nothing_written(store):
            for stream_id in BAD_NAMES:
                with pytest.raises(InvalidArgument):
                    await store.delete_stream(stream_id, expected_version=ANY)
                with pytest.raises(InvalidArgument):
                    await store.truncate_stream(stream_id, 1)
            for expected in BAD_VERSIONS:
                with pytest.raises(InvalidArgument):
                    await store.delete_stream("cart-1", expected_version=expected)

    async def test_one_of_many_deletes_wins(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """DELETE-13: Of many deletes at once one succeeds, the others raise `StreamDeleted`."""
        await two_stores[0].append("cart-1", some_events(3), expected_version=NO_STREAM)
        won, refused = await outcomes_of(
            *(two_stores[n % 2].delete_stream("cart-1", expected_version=3) for n in range(10))
        )
        assert len(won) == 1
        assert all(isinstance(error, StreamDeleted) for error in refused)

    @pytest.mark.parametrize("erase", [False, True], ids=["delete", "erase"])
    async def test_deleting_beside_appends_is_consistent(
        self, two_stores: tuple[EventStore, EventStore], erase: bool
    ) -> None:
        """DELETE-14: Beside a delete, each append came before it or is refused; afterwards all are refused."""
        store, second = two_stores
        first = await store.append("cart-1", some_events(1), expected_version=NO_STREAM)

        async def delete() -> None:
            await store.delete_stream("cart-1", expected_version=ANY, erase=erase)

        appends = [second.append("cart-1", some_events(2), expected_version=ANY) for _ in range(10)]
        done, refused = await outcomes_of(*appends[:5], delete(), *appends[5:])
        assert all(isinstance(error, StreamDeleted) for error in refused)
        appended = [event for batch in done if batch is not None for event in batch]
        log = await log_of(store)
        assert versions(log) == ([] if erase else list(range(1, len(appended) + 2)))
        assert erase or {event.event_id for event in log} == {event.event_id for event in first + appended}
        assert await store.stream_version("cart-1") == len(appended) + 1
        with pytest.raises(StreamDeleted):
            await second.append("cart-1", some_events(1), expected_version=ANY)

    async def test_of_a_delete_and_an_append_at_one_version_one_wins(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """DELETE-15: Of a delete and an append that expect the same version exactly one succeeds."""
        store, second = two_stores
        for n in range(10):
            stream_id = f"cart-{n}"
            await store.append(stream_id, some_events(1), expected_version=NO_STREAM)

            async def delete(stream_id: str = stream_id) -> None:
                await second.delete_stream(stream_id, expected_version=1)

            append = store.append(stream_id, some_events(1), expected_version=1)
            racers = [append, delete()] if n % 2 else [delete(), append]
            won, (refused,) = await outcomes_of(*racers)
            assert len(won) == 1
            info = await store.stream_info(stream_id)
            assert info is not None
            if info.deleted:
                assert isinstance(refused, StreamDeleted)
                assert info.version == 1
            else:
                assert isinstance(refused, WrongExpectedVersion)
                assert refused.mismatches == ((stream_id, 1, 2),)

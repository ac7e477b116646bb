"""Chapter Reading: streams and the log, by bounds, limits and pages."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import ANY, NO_STREAM, EventStore, InvalidArgument
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import BAD_COUNTS, BAD_NAMES, some_events
from eventstore_conformance.observing import collect, ending, is_growing, log_of, positions, stream_of, versions

# The limits matter around the page size of `small_pages_store`, which is 3.
LIMITS = [0, 1, 2, 3, 4, 6, 7, 9, 10, 11, 100]


async def fill(store: EventStore, count: int, *stream_ids: str) -> None:
    """Append so many events one by one, to the streams in turn."""
    for n in range(count):
        await store.append(stream_ids[n % len(stream_ids)], some_events(1), expected_version=ANY)


class ReadStream(Chapter):
    """Reading one stream."""

    async def test_a_stream_is_read_from_its_first_event_to_its_last(self, small_pages_store: EventStore) -> None:
        """READ-01: Without arguments a stream is read whole, in the order of versions, over however many pages."""
        for size in (1, 2, 3, 4, 6, 10):
            recorded = await small_pages_store.append(f"read-{size}", some_events(size), expected_version=NO_STREAM)
            assert await stream_of(small_pages_store, f"read-{size}") == recorded

    async def test_a_stream_is_read_backward_from_its_last_event(self, small_pages_store: EventStore) -> None:
        """READ-02: Backward, a stream is read from its last event to its first."""
        for size in (1, 2, 3, 4, 6, 10):
            recorded = await small_pages_store.append(f"read-{size}", some_events(size), expected_version=NO_STREAM)
            assert await collect(small_pages_store.read_stream(f"read-{size}", backward=True)) == recorded[::-1]

    @pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
    async def test_both_bounds_are_inclusive(self, small_pages_store: EventStore, backward: bool) -> None:
        """READ-03: `from_version` and `to_version` are inclusive and mean the same in both directions."""
        store = small_pages_store
        await store.append("read-1", some_events(10), expected_version=NO_STREAM)
        for first in (1, 2, 4, 10, 11, 99):
            for last in (0, 1, 3, 9, 10, 11, 99, 2**63 - 1):
                events = store.read_stream("read-1", from_version=first, to_version=last, backward=backward)
                expected = range(first, min(last, 10) + 1)
                assert versions(await collect(events)) == list(expected)[:: -1 if backward else 1]

    async def test_a_limit_bounds_the_number_of_events(self, small_pages_store: EventStore) -> None:
        """READ-04: At most `limit` events are read, from the beginning, or backward from the end, or between bounds."""
        store = small_pages_store
        await store.append("read-1", some_events(10), expected_version=NO_STREAM)
        for limit in LIMITS:
            forward = store.read_stream("read-1", limit=limit)
            backward = store.read_stream("read-1", limit=limit, backward=True)
            within = store.read_stream("read-1", from_version=3, to_version=8, limit=limit)
            within_backward = store.read_stream("read-1", from_version=3, to_version=8, limit=limit, backward=True)
            assert versions(await collect(forward)) == list(range(1, 11))[:limit]
            assert versions(await collect(backward)) == list(range(10, 0, -1))[:limit]
            assert versions(await collect(within)) == list(range(3, 9))[:limit]
            assert versions(await collect(within_backward)) == list(range(8, 2, -1))[:limit]

    async def test_a_missing_stream_has_nothing_to_read(self, store: EventStore) -> None:
        """READ-05: A stream that does not exist yields nothing, in either direction, and has version 0."""
        await store.append("read-1", some_events(1), expected_version=NO_STREAM)
        assert await stream_of(store, "read-2") == []
        assert await collect(store.read_stream("read-2", backward=True)) == []
        assert await store.stream_version("read-2") == 0
        assert await store.stream_info("read-2") is None

    async def test_pages_continue_after_the_last_seen_version(self, small_pages_store: EventStore) -> None:
        """READ-06: What is appended while reading is neither skipped nor read twice."""
        store = small_pages_store
        await store.append("read-1", some_events(4), expected_version=NO_STREAM)
        seen: list[int] = []
        async for event in ending(store.read_stream("read-1")):
            seen.append(event.version)
            if event.version < 12:
                await store.append("read-1", some_events(2), expected_version=ANY)
        assert seen == list(range(1, seen[-1] + 1))
        assert seen[-1] >= 4

    async def test_backward_pages_do_not_see_what_is_appended(self, small_pages_store: EventStore) -> None:
        """READ-07: Reading backward goes on below the last seen version, whatever is appended above."""
        store = small_pages_store
        await store.append("read-1", some_events(10), expected_version=NO_STREAM)
        seen: list[int] = []
        async for event in ending(store.read_stream("read-1", backward=True)):
            seen.append(event.version)
            assert len(seen) <= 10, "the reading does not end"
            await store.append("read-1", some_events(1), expected_version=ANY)
        assert seen == list(range(10, 0, -1))

    async def test_a_truncation_while_reading_loses_nothing_that_stays(self, small_pages_store: EventStore) -> None:
        """READ-08: A reader in the middle of a stream that is truncated goes on at the first event that is left."""
        store = small_pages_store
        await store.append("read-1", some_events(12), expected_version=NO_STREAM)
        seen: list[int] = []
        async for event in ending(store.read_stream("read-1")):
            seen.append(event.version)
            if event.version == 2:
                await store.truncate_stream("read-1", 8)
        assert is_growing(seen)
        assert seen[-5:] == [8, 9, 10, 11, 12]

    async def test_a_reader_may_stop_early(self, small_pages_store: EventStore) -> None:
        """READ-09: A reader that stops holds nothing up: the store reads and writes on."""
        store = small_pages_store
        await store.append("read-1", some_events(10), expected_version=NO_STREAM)
        async for event in store.read_stream("read-1"):
            if event.version == 2:
                break
        async for _ in store.read_all():
            break
        await store.append("read-1", some_events(1), expected_version=10)
        assert len(await stream_of(store, "read-1")) == 11

    @pytest.mark.parametrize("bad", BAD_COUNTS, ids=repr)
    async def test_a_bad_bound_is_refused_at_once(self, store: EventStore, bad: Any) -> None:
        """READ-10: Bounds and limits out of range, or no integers, raise `InvalidArgument` at the call."""
        for argument in ("from_version", "to_version", "limit"):
            with pytest.raises(InvalidArgument) as refusal:
                store.read_stream("read-1", **{argument: bad})
            assert refusal.value.argument == argument

    async def test_versions_begin_at_one(self, store: EventStore) -> None:
        """READ-11: `from_version=0` is refused: there is no such version."""
        with pytest.raises(InvalidArgument):
            store.read_stream("read-1", from_version=0)

    @pytest.mark.parametrize("stream_id", BAD_NAMES, ids=ascii)
    async def test_a_bad_stream_id_is_refused_by_every_read(self, store: EventStore, stream_id: Any) -> None:
        """READ-12: What is no stream id cannot be read either."""
        with pytest.raises(InvalidArgument):
            store.read_stream(stream_id)
        with pytest.raises(InvalidArgument):
            await store.stream_version(stream_id)
        with pytest.raises(InvalidArgument):
            await store.stream_info(stream_id)


class ReadAll(Chapter):
    """Reading the log."""

    async def test_the_log_is_read_in_the_order_of_positions(self, small_pages_store: EventStore) -> None:
        """LOG-01: The log has every event once, by growing position; each append comes after those before it."""
        store = small_pages_store
        recorded = []
        for stream_id in ("a-1", "b-1", "a-1", "c-1", "b-1", "a-1"):
            recorded += await store.append(stream_id, some_events(2), expected_version=ANY)
        assert await log_of(store) == recorded
        assert is_growing(positions(recorded))

    async def test_an_empty_log_has_nothing_to_read(self, store: EventStore) -> None:
        """LOG-02: An empty log yields nothing, and its head is 0."""
        assert await log_of(store) == []
        assert await collect(store.read_all(backward=True)) == []
        assert await store.head() == 0

    async def test_the_log_is_read_backward_from_its_head(self, small_pages_store: EventStore) -> None:
        """LOG-03: Backward, the log is read from its head to its first event."""
        await fill(small_pages_store, 10, "a-1", "b-1")
        log = await log_of(small_pages_store)
        assert await collect(small_pages_store.read_all(backward=True)) == log[::-1]

    @pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
    async def test_both_bounds_of_the_log_are_exclusive(self, small_pages_store: EventStore, backward: bool) -> None:
        """LOG-04: `after` and `before` are exclusive and mean the same in both directions."""
        store = small_pages_store
        await fill(store, 10, "a-1", "b-1")
        log = await log_of(store)
        bounds = [0, *positions(log), 2**63 - 1]
        for after in bounds:
            for before in (None, *bounds):
                expected = [
                    event
                    for event in log
                    if after < event.global_position and (before is None or event.global_position < before)
                ]
                found = await collect(store.read_all(after=after, before=before, backward=backward))
                assert found == expected[:: -1 if backward else 1]

    async def test_a_limit_bounds_the_number_of_events_of_the_log(self, small_pages_store: EventStore) -> None:
        """LOG-05: At most `limit` events are read, in either direction, with bounds or without."""
        store = small_pages_store
        await fill(store, 10, "a-1", "b-1")
        log = await log_of(store)
        second = log[1].global_position
        for limit in LIMITS:
            assert await collect(store.read_all(limit=limit)) == log[:limit]
            assert await collect(store.read_all(limit=limit, backward=True)) == log[::-1][:limit]
            assert await collect(store.read_all(after=second, limit=limit)) == log[2:][:limit]
            assert await collect(store.read_all(after=second, limit=limit, backward=True)) == log[:1:-1][:limit]

    async def test_holes_are_read_over(self, small_pages_store: EventStore) -> None:
        """LOG-06: Truncated and erased events leave holes, narrow ones and wider than a page, that no reader minds."""
        store = small_pages_store
        await fill(store, 30, "a-1", "b-1", "b-2")
        await fill(store, 12, "hole-1")
        await fill(store, 12, "hole-2")
        await fill(store, 9, "a-1", "b-1")
        await store.truncate_stream("b-1", 4)
        await store.truncate_stream("hole-1", 99)
        await store.delete_stream("hole-2", expected_version=ANY, erase=True)
        await store.delete_stream("b-2", expected_version=ANY, erase=True)
        log = await log_of(store)
        assert versions(event for event in log if event.stream_id == "a-1") == list(range(1, 16))
        assert versions(event for event in log if event.stream_id == "b-1") == list(range(4, 15))
        assert len(log) == 15 + 11
        assert await collect(store.read_all(backward=True)) == log[::-1]
        for number, event in enumerate(log, 1):
            assert await collect(store.read_all(after=event.global_position, limit=2)) == log[number : number + 2]

    async def test_a_hole_is_a_bound_like_any_position(self, small_pages_store: EventStore) -> None:
        """LOG-07: A bookmark whose event is gone is as good as any."""
        store = small_pages_store
        await fill(store, 9, "a-1", "b-1")
        log = await log_of(store)
        await store.delete_stream("b-1", expected_version=ANY, erase=True)
        left = [event for event in log if event.stream_id == "a-1"]
        for bound in positions(log):
            above = [event for event in left if event.global_position > bound]
            below = [event for event in left if event.global_position < bound]
            assert await collect(store.read_all(after=bound)) == above
            assert await collect(store.read_all(before=bound)) == below
            assert await collect(store.read_all(before=bound, backward=True)) == below[::-1]

    async def test_what_is_appended_while_reading_comes_in_order(self, small_pages_store: EventStore) -> None:
        """LOG-08: What is appended while the log is read is neither read twice nor out of order."""
        store = small_pages_store
        await fill(store, 8, "a-1")
        before = await log_of(store)
        seen = []
        async for event in ending(store.read_all()):
            seen.append(event)
            if len(seen) < 20:
                await store.append("b-1", some_events(1), expected_version=ANY)
        assert seen == (await log_of(store))[: len(seen)]
        assert seen[: len(before)] == before

    @pytest.mark.parametrize("bad", BAD_COUNTS, ids=repr)
    async def test_a_bad_bound_of_the_log_is_refused_at_once(self, store: EventStore, bad: Any) -> None:
        """LOG-09: Bounds and limits out of range, or no integers, raise `InvalidArgument` at the call."""
        for argument in ("after", "before", "limit"):
            with pytest.raises(InvalidArgument) as refusal:
                store.read_all(**{argument: bad})
            assert refusal.value.argument == argument

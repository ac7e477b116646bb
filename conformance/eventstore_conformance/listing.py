"""Chapter Reading, continued: which streams there are."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import ANY, NO_STREAM, EventStore, InvalidArgument, StreamInfo, WrongExpectedVersion
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import BAD_COUNTS, BAD_NAMES, some_events
from eventstore_conformance.observing import collect, ids_in, streams_of

# In an order that neither a locale nor UTF-16 would give them.
STREAM_IDS = ["B-1", "Z", "a", "a-1", "a-10", "a-2", "a.1", "a_1", "ab-1", "b%-1", "b_-1", "ba-1", "é-1", "ﬀ-1", "😀-1"]


async def fill(store: EventStore) -> None:
    """Make streams, in an order that is not theirs."""
    for stream_id in sorted(STREAM_IDS, key=lambda stream_id: stream_id[::-1]):
        await store.append(stream_id, some_events(2), expected_version=NO_STREAM)


class Listing(Chapter):
    """`list_streams` and `stream_info`."""

    async def test_streams_are_listed_in_the_byte_order_of_their_ids(self, small_pages_store: EventStore) -> None:
        """LIST-01: All streams are listed once, in the byte order of UTF-8, over however many pages."""
        await fill(small_pages_store)
        assert await ids_in(small_pages_store.list_streams()) == STREAM_IDS

    async def test_an_empty_store_has_no_streams(self, store: EventStore) -> None:
        """LIST-02: An empty store lists nothing."""
        assert await streams_of(store) == []

    async def test_streams_of_a_type(self, small_pages_store: EventStore) -> None:
        """LIST-03: `stream_type` is compared whole."""
        await fill(small_pages_store)
        for stream_type in ["a", "ab", "b%", "b_", "é", "Z", "A", "a-1", "none", "😀"]:
            listed = await ids_in(small_pages_store.list_streams(stream_type=stream_type))
            assert listed == [stream_id for stream_id in STREAM_IDS if stream_id.partition("-")[0] == stream_type]

    async def test_streams_with_a_prefix(self, small_pages_store: EventStore) -> None:
        """LIST-04: `prefix` is plain text: `%` and `_` stand for themselves."""
        await fill(small_pages_store)
        for prefix in ["a", "a-", "a-1", "b%", "b_", "%", "_", "A", "é", "\u00e9-", "😀", "none"]:
            listed = await ids_in(small_pages_store.list_streams(prefix=prefix))
            assert listed == [stream_id for stream_id in STREAM_IDS if stream_id.startswith(prefix)]

    async def test_streams_after_an_id(self, small_pages_store: EventStore) -> None:
        """LIST-05: `after` is exclusive, and need not be the id of a stream."""
        await fill(small_pages_store)
        for after in ["A", "Z", "a-1", "a-1x", "c", "ﬀ-1", "😀-1", "\U0010ffff"]:
            listed = await ids_in(small_pages_store.list_streams(after=after))
            assert listed == [stream_id for stream_id in STREAM_IDS if stream_id > after]

    async def test_a_limit_bounds_the_number_of_streams(self, small_pages_store: EventStore) -> None:
        """LIST-06: At most `limit` streams are listed."""
        await fill(small_pages_store)
        for limit in [0, 1, 2, 3, 4, 6, 14, 15, 16, 99]:
            listed = await ids_in(small_pages_store.list_streams(limit=limit))
            assert listed == STREAM_IDS[:limit]

    async def test_all_conditions_on_streams_hold_together(self, small_pages_store: EventStore) -> None:
        """LIST-07: A stream must meet every condition given."""
        await fill(small_pages_store)
        for stream_type in ("a", "ab", "b%"):
            for prefix in ("a", "a-1", "ab", "b"):
                for after in ("a-1", "a-10", "ab"):
                    listed = small_pages_store.list_streams(
                        stream_type=stream_type, prefix=prefix, after=after, limit=2
                    )
                    expected = [
                        stream_id
                        for stream_id in STREAM_IDS
                        if stream_id.partition("-")[0] == stream_type
                        and stream_id.startswith(prefix)
                        and stream_id > after
                    ]
                    assert await ids_in(listed) == expected[:2]

    async def test_deleted_streams_are_listed_when_asked_for(self, small_pages_store: EventStore) -> None:
        """LIST-08: Deleted streams are left out, in whole pages too, unless `include_deleted` is true."""
        store = small_pages_store
        await fill(store)
        deleted = STREAM_IDS[1:9]
        for stream_id in deleted:
            await store.delete_stream(stream_id, expected_version=ANY, erase=stream_id == "a")
        await store.delete_stream("never-used", expected_version=ANY)
        kept = [stream_id for stream_id in STREAM_IDS if stream_id not in deleted]
        assert await ids_in(store.list_streams()) == kept
        assert await ids_in(store.list_streams(limit=3)) == kept[:3]
        every = await collect(store.list_streams(include_deleted=True))
        assert [info.stream_id for info in every] == sorted([*STREAM_IDS, "never-used"])
        assert [info.stream_id for info in every if info.deleted] == sorted([*deleted, "never-used"])

    async def test_a_stream_without_events_left_is_listed(self, store: EventStore) -> None:
        """LIST-09: A stream whose events are all truncated is still a stream."""
        await store.append("a-1", some_events(2), expected_version=NO_STREAM)
        await store.truncate_stream("a-1", 99)
        assert await streams_of(store) == [StreamInfo("a-1", "a", 2, 3, deleted=False)]

    async def test_info_says_what_is_known_of_a_stream(self, store: EventStore) -> None:
        """LIST-10: `stream_info` has the id, type, version, the first version left, and whether it is deleted."""
        await store.append("a-1", some_events(5), expected_version=NO_STREAM)
        assert await store.stream_info("a-1") == StreamInfo("a-1", "a", 5, 1, deleted=False)
        await store.truncate_stream("a-1", 3)
        assert await store.stream_info("a-1") == StreamInfo("a-1", "a", 5, 3, deleted=False)
        await store.delete_stream("a-1", expected_version=5)
        assert await store.stream_info("a-1") == StreamInfo("a-1", "a", 5, 3, deleted=True)
        await store.delete_stream("a-1", expected_version=5, erase=True)
        assert await store.stream_info("a-1") == StreamInfo("a-1", "a", 5, 6, deleted=True)

    async def test_the_list_and_the_info_agree(self, store: EventStore) -> None:
        """LIST-11: A listed stream is described as `stream_info` and `stream_version` describe it."""
        await fill(store)
        await store.truncate_stream("a-1", 2)
        await store.delete_stream("a-2", expected_version=2)
        for info in await streams_of(store):
            assert await store.stream_info(info.stream_id) == info
            assert await store.stream_version(info.stream_id) == info.version

    async def test_a_refused_append_makes_no_stream(self, store: EventStore) -> None:
        """LIST-12: A stream begins with its first event: nothing else makes one."""
        with pytest.raises(WrongExpectedVersion):
            await store.append("a-1", some_events(1), expected_version=5)
        await store.truncate_stream("a-1", 5)
        await store.delete_snapshots("a-1")
        assert await store.load_snapshot("a-1") is None
        assert await store.stream_info("a-1") is None
        assert await streams_of(store) == []

    @pytest.mark.parametrize("bad", BAD_COUNTS, ids=repr)
    async def test_a_bad_limit_is_refused_at_once(self, store: EventStore, bad: Any) -> None:
        """LIST-13: A limit out of range, or no integer, raises `InvalidArgument` at the call."""
        with pytest.raises(InvalidArgument):
            store.list_streams(limit=bad)

    @pytest.mark.parametrize("bad", [name for name in BAD_NAMES if name is not None], ids=ascii)
    async def test_a_bad_name_to_list_by_is_refused_at_once(self, store: EventStore, bad: Any) -> None:
        """LIST-14: A type, a prefix or an id that no stream can have raises `InvalidArgument` at the call."""
        for argument in ("stream_type", "prefix", "after"):
            with pytest.raises(InvalidArgument) as refusal:
                store.list_streams(**{argument: bad})
            assert refusal.value.argument == argument

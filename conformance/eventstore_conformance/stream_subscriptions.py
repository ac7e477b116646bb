"""Chapter Stream subscriptions: following one stream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventstore import END, NO_STREAM, CaughtUp, EventStore, FellBehind, InvalidArgument, StreamDeleted
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.in_flight import gets_done
from eventstore_conformance.making import BAD_COUNTS, BAD_NAMES, LOOKALIKES, an_event, some_events
from eventstore_conformance.observing import let_others_run, stream_of, take
from eventstore_conformance.subscriptions import MOMENTS


class StreamSubscriptions(Chapter):
    """`subscribe_stream`."""

    async def test_a_stream_is_followed_from_its_first_event(self, small_pages_store: EventStore) -> None:
        """SUBSTREAM-01: Every event of the stream is delivered once and in order, and none of another stream."""
        store = small_pages_store
        await store.append("log-1", some_events(7), expected_version=NO_STREAM)
        await store.append("log-10", some_events(2), expected_version=NO_STREAM)
        events = store.subscribe_stream("log-1")
        received = await take(events, 7)
        for version in range(7, 10):
            asked = asyncio.ensure_future(anext(events))
            await store.append(f"other-{version}", some_events(1), expected_version=NO_STREAM)
            await store.append("log-1", [an_event()], expected_version=version)
            received.append(await asked)
        assert received == await stream_of(store, "log-1")

    async def test_a_stream_is_followed_from_a_version(self, store: EventStore) -> None:
        """SUBSTREAM-02: `from_version` is inclusive, as in `read_stream`; it may still be to come."""
        recorded = await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        for version in range(1, 5):
            assert (
                await take(store.subscribe_stream("log-1", from_version=version), 5 - version)
                == recorded[version - 1 :]
            )
        late = store.subscribe_stream("log-1", from_version=6)
        recorded += await store.append("log-1", some_events(3), expected_version=4)
        assert await take(late, 2) == recorded[5:]

    async def test_a_stream_is_followed_from_its_end(self, store: EventStore) -> None:
        """SUBSTREAM-03: With `from_version=END` only new events are delivered."""
        await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        events, unborn = (store.subscribe_stream(stream_id, from_version=END) for stream_id in ("log-1", "log-2"))
        await events.begin()
        await unborn.begin()
        new = await store.append("log-1", some_events(2), expected_version=4)
        assert await take(events, 2) == new
        new = await store.append("log-2", some_events(2), expected_version=NO_STREAM)
        assert await take(unborn, 2) == new

    async def test_a_stream_may_be_followed_before_it_is_there(self, store: EventStore) -> None:
        """SUBSTREAM-04: A stream that does not exist yet is waited for."""
        events = store.subscribe_stream("log-1")
        found = events.with_signals()
        assert await anext(found) == CaughtUp()
        asked = asyncio.ensure_future(anext(found))
        await store.append("log-2", some_events(2), expected_version=NO_STREAM)
        new = await store.append("log-1", some_events(2), expected_version=NO_STREAM)
        assert [await asked, await anext(found)] == new

    async def test_nothing_of_a_stream_is_lost_or_doubled_at_the_seam(self, small_pages_store: EventStore) -> None:
        """SUBSTREAM-05: What is appended at any moment of the switch from catching up to live is delivered, once."""
        store = small_pages_store
        tail = await store.append("log-1", some_events(5), expected_version=NO_STREAM)
        for turns in range(MOMENTS):
            events = store.subscribe_stream("log-1", from_version=tail[-4].version)
            catching_up = asyncio.ensure_future(take(events, 4 + 2))
            await let_others_run(turns)
            tail += await store.append("log-1", some_events(2), expected_version=tail[-1].version)
            assert await catching_up == tail[-6:]
            tail += await store.append("log-1", some_events(1), expected_version=tail[-1].version)
            assert await anext(events) == tail[-1]

    async def test_a_stream_subscription_signals_as_one_of_the_log_does(self, small_pages_store: EventStore) -> None:
        """SUBSTREAM-06: `CaughtUp` and `FellBehind` come once at each transition."""
        store = small_pages_store
        recorded = await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        found = store.subscribe_stream("log-1").with_signals()
        assert await take(found, 5) == [*recorded, CaughtUp()]
        recorded = await store.append("log-1", some_events(10), expected_version=4)
        assert await take(found, 12) == [FellBehind(), *recorded, CaughtUp()]

    async def test_a_deleted_stream_cannot_be_followed(self, store: EventStore) -> None:
        """SUBSTREAM-07: Iterating raises `StreamDeleted` for a stream that is deleted."""
        await store.append("log-1", some_events(2), expected_version=NO_STREAM)
        await store.delete_stream("log-1", expected_version=2)
        with pytest.raises(StreamDeleted):
            await anext(store.subscribe_stream("log-1"))
        with pytest.raises(StreamDeleted):
            await anext(store.subscribe_stream("log-1", from_version=3))

    async def test_a_stream_that_is_deleted_meanwhile_ends_its_subscriptions(self, store: EventStore) -> None:
        """SUBSTREAM-08: Who follows a stream that is deleted gets `StreamDeleted`, with the next append of any."""
        await store.append("log-1", some_events(2), expected_version=NO_STREAM)
        events = store.subscribe_stream("log-1")
        await take(events, 2)
        asked = asyncio.ensure_future(anext(events))
        await gets_done(asked)
        await store.delete_stream("log-1", expected_version=2)
        await store.append("other-1", some_events(1), expected_version=NO_STREAM)
        with pytest.raises(StreamDeleted):
            await asked

    async def test_truncating_a_stream_moves_its_subscribers_on(self, small_pages_store: EventStore) -> None:
        """SUBSTREAM-09: Truncated events are passed, by who is before them and by who is beyond."""
        store = small_pages_store
        recorded = await store.append("log-1", some_events(8), expected_version=NO_STREAM)
        before, beyond = store.subscribe_stream("log-1"), store.subscribe_stream("log-1", from_version=9)
        await store.truncate_stream("log-1", before_version=6)
        assert await take(before, 3) == recorded[5:]
        await store.truncate_stream("log-1", before_version=9)
        new = await store.append("log-1", some_events(1), expected_version=8)
        assert await take(before, 1) == await take(beyond, 1) == new

    async def test_a_stream_is_followed_by_its_plain_name(self, store: EventStore) -> None:
        """SUBSTREAM-10: Each name is another stream, however alike."""
        for pair in LOOKALIKES:
            subscriptions = [store.subscribe_stream(name) for name in pair]
            for name in reversed(pair):
                await store.append(name, [an_event(data={"name": name})], expected_version=NO_STREAM)
            assert [(await anext(events)).stream_id for events in subscriptions] == list(pair)

    @pytest.mark.parametrize("bad", [None, 0, *BAD_COUNTS], ids=repr)
    async def test_following_from_what_is_no_version_is_refused(self, store: EventStore, bad: Any) -> None:
        """SUBSTREAM-11: `from_version` is a number from 1 on, or `END`."""
        with pytest.raises(InvalidArgument):
            store.subscribe_stream("log-1", from_version=bad)

    @pytest.mark.parametrize("bad", BAD_NAMES, ids=ascii)
    async def test_following_what_is_no_stream_id_is_refused(self, store: EventStore, bad: Any) -> None:
        """SUBSTREAM-12: Stream ids are held to their rules at once."""
        with pytest.raises(InvalidArgument):
            store.subscribe_stream(bad)

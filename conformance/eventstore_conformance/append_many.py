"""Chapter Append, continued: several streams in one atomic transaction."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    DuplicateEventId,
    EventStore,
    InvalidArgument,
    InvalidEvent,
    StreamDeleted,
    StreamWrite,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import BAD_NAMES, BAD_VERSIONS, an_event, some_events
from eventstore_conformance.observing import in_log_order, log_of, nothing_written, positions, stream_of, versions


class AppendMany(Chapter):
    """Appending to several streams at once."""

    async def test_every_stream_gets_its_events(self, store: EventStore) -> None:
        """MANY-01: Each stream gets its own events; the records come back in the order of the writes."""
        await store.append("b-1", some_events(2), expected_version=NO_STREAM)
        writes = [
            StreamWrite("c-1", some_events(3), ANY),
            StreamWrite("b-1", some_events(1), 2),
            StreamWrite("a-1", some_events(2), NO_STREAM),
        ]
        recorded = await store.append_many(writes)
        assert [versions(events) for events in recorded] == [[1, 2, 3], [3], [1, 2]]
        for write, events in zip(writes, recorded, strict=True):
            assert [event.event_id for event in events] == [event.event_id for event in write.events]
            assert (await stream_of(store, write.stream_id))[-len(events) :] == events

    async def test_the_log_has_all_of_them_in_the_order_of_each_stream(self, store: EventStore) -> None:
        """MANY-02: In the log, positions are distinct and agree with the order of each stream."""
        recorded = await store.append_many([StreamWrite(f"s-{n}", some_events(5), ANY) for n in range(5)])
        log = await log_of(store)
        assert log == in_log_order(event for events in recorded for event in events)
        assert len(set(positions(log))) == 25
        for events in recorded:
            assert events == in_log_order(events)

    async def test_one_unmet_expectation_keeps_all_streams_as_they_were(self, store: EventStore) -> None:
        """MANY-03: All or nothing: one unmet expectation, first or last, and nothing is written anywhere."""
        good = StreamWrite("good-1", some_events(2), NO_STREAM)
        bad = StreamWrite("bad-1", some_events(2), 7)
        for writes in ([good, bad], [bad, good]):
            async with nothing_written(store):
                with pytest.raises(WrongExpectedVersion) as refusal:
                    await store.append_many(writes)
            assert refusal.value.mismatches == (("bad-1", 7, 0),)

    async def test_every_unmet_expectation_is_reported_at_once(self, store: EventStore) -> None:
        """MANY-04: `mismatches` has every unmet expectation, with the actual version, in the order of the writes."""
        await store.append("two-1", some_events(2), expected_version=NO_STREAM)
        await store.append("five-1", some_events(5), expected_version=NO_STREAM)
        async with nothing_written(store):
            with pytest.raises(WrongExpectedVersion) as refusal:
                await store.append_many(
                    [
                        StreamWrite("five-1", some_events(1), 4),
                        StreamWrite("none-1", some_events(1), NO_STREAM),
                        StreamWrite("two-1", some_events(1), NO_STREAM),
                        StreamWrite("none-2", some_events(1), STREAM_EXISTS),
                        StreamWrite("any-1", some_events(1), ANY),
                    ]
                )
        assert refusal.value.mismatches == (("five-1", 4, 5), ("two-1", NO_STREAM, 2), ("none-2", STREAM_EXISTS, 0))

    async def test_the_same_writes_sent_again_return_the_recorded_events(self, store: EventStore) -> None:
        """MANY-05: The same writes sent again return the events as first recorded, and nothing is written."""
        await store.append("a-1", some_events(1), expected_version=NO_STREAM)
        writes = [
            StreamWrite("a-1", some_events(2), 1),
            StreamWrite("b-1", some_events(2), NO_STREAM),
            StreamWrite("c-1", some_events(2), ANY),
        ]
        recorded = await store.append_many(writes)
        await store.append("b-1", some_events(1), expected_version=2)
        async with nothing_written(store):
            assert await store.append_many(writes) == recorded
            assert await store.append_many(writes[::-1]) == recorded[::-1]

    async def test_writes_of_which_a_part_is_stored_are_refused(self, store: EventStore) -> None:
        """MANY-06: Writes of which one is stored and another is not raise `DuplicateEventId`; nothing is written."""
        stored = StreamWrite("a-1", some_events(2), NO_STREAM)
        new = StreamWrite("b-1", some_events(2), ANY)
        await store.append_many([stored])
        for writes in ([stored, new], [new, stored]):
            async with nothing_written(store):
                with pytest.raises(DuplicateEventId) as refusal:
                    await store.append_many(writes)
            assert set(refusal.value.event_ids) == {event.event_id for event in stored.events}

    async def test_ids_that_changed_streams_are_refused(self, store: EventStore) -> None:
        """MANY-07: Writes sent again with their streams exchanged raise `DuplicateEventId`."""
        one, two = some_events(2), some_events(2)
        await store.append_many([StreamWrite("a-1", one, ANY), StreamWrite("b-1", two, ANY)])
        async with nothing_written(store):
            with pytest.raises(DuplicateEventId):
                await store.append_many([StreamWrite("a-1", two, ANY), StreamWrite("b-1", one, ANY)])

    async def test_a_deleted_stream_refuses_all_writes(self, store: EventStore) -> None:
        """MANY-08: A deleted stream among them raises `StreamDeleted`, naming it; nothing is written."""
        await store.delete_stream("gone-1", expected_version=ANY)
        async with nothing_written(store):
            with pytest.raises(StreamDeleted) as refusal:
                await store.append_many(
                    [StreamWrite("a-1", some_events(1), ANY), StreamWrite("gone-1", some_events(1), ANY)]
                )
        assert refusal.value.stream_id == "gone-1"

    async def test_a_stream_occurs_once(self, store: EventStore) -> None:
        """MANY-09: A stream that occurs twice raises `InvalidArgument`."""
        async with nothing_written(store):
            with pytest.raises(InvalidArgument):
                await store.append_many(
                    [StreamWrite("a-1", some_events(1), ANY), StreamWrite("a-1", some_events(1), ANY)]
                )

    async def test_the_same_id_in_two_writes_is_refused(self, store: EventStore) -> None:
        """MANY-10: The same id in two of the writes raises `InvalidEvent`."""
        event = an_event()
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append_many([StreamWrite("a-1", [event], ANY), StreamWrite("b-1", [event], ANY)])
        assert refusal.value.event_id == event.event_id

    @pytest.mark.parametrize("writes", [[], (), None, 5, "text", [None], [("a-1", [], ANY)]], ids=repr)
    async def test_what_is_no_list_of_writes_is_refused(self, store: EventStore, writes: Any) -> None:
        """MANY-11: No writes, or anything but `StreamWrite` among them, raise `InvalidArgument`."""
        async with nothing_written(store):
            with pytest.raises(InvalidArgument) as refusal:
                await store.append_many(writes)
        assert refusal.value.argument == "writes"

    async def test_a_bad_write_refuses_all_of_them(self, store: EventStore) -> None:
        """MANY-12: Each write is held to the rules of `append`: one without events, or with a bad name, refuses all."""
        good = StreamWrite("good-1", some_events(1), ANY)
        bad_writes = [
            StreamWrite("a-1", [], ANY),
            *(StreamWrite(name, some_events(1), ANY) for name in BAD_NAMES),
            *(StreamWrite("a-1", some_events(1), expected) for expected in BAD_VERSIONS),
        ]
        async with nothing_written(store):
            for bad in bad_writes:
                with pytest.raises(InvalidArgument):
                    await store.append_many([good, bad])

    async def test_a_bad_event_refuses_all_writes(self, store: EventStore) -> None:
        """MANY-13: An event that cannot be stored keeps the events of all streams out."""
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append_many(
                    [
                        StreamWrite("a-1", some_events(1), ANY),
                        StreamWrite("b-1", [an_event(data={"n": float("nan")})], ANY),
                    ]
                )
        assert refusal.value.path == "$.data.n"

    async def test_many_streams_at_once(self, store: EventStore) -> None:
        """MANY-14: Hundreds of streams fit one transaction."""
        writes = [StreamWrite(f"s-{n:03}", some_events(3), NO_STREAM) for n in range(300)]
        recorded = await store.append_many(writes)
        assert await log_of(store) == in_log_order(event for events in recorded for event in events)
        async with nothing_written(store):
            assert await store.append_many(writes) == recorded

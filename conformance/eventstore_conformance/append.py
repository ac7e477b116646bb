"""Chapter Append: one stream. Every row of the table in docs/semantics.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    DuplicateEventId,
    EventStore,
    ExpectedVersion,
    InvalidArgument,
    InvalidEvent,
    NewEvent,
    StreamDeleted,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import BAD_NAMES, BAD_VERSIONS, after, an_event, some_events
from eventstore_conformance.observing import is_growing, log_of, nothing_written, positions, stream_of, versions

# The version a stream is at, and an expectation.
MET = [(0, 0), (0, NO_STREAM), (0, ANY), (3, 3), (3, STREAM_EXISTS), (3, ANY)]
UNMET = [(0, 1), (0, STREAM_EXISTS), (0, 2**63 - 1), (3, 0), (3, NO_STREAM), (3, 2), (3, 4), (3, 2**63 - 1)]
EXPECTATIONS = ["exact", NO_STREAM, STREAM_EXISTS, ANY]


class Append(Chapter):
    """Appending to one stream."""

    # --- What an append does -------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("version", "expected"), MET)
    async def test_events_are_appended_where_the_expectation_is_met(
        self, store: EventStore, version: int, expected: ExpectedVersion
    ) -> None:
        """APPEND-01: A met expectation lets the events in, with the stream's next versions."""
        if version:
            await store.append("cart-1", some_events(version), expected_version=NO_STREAM)
        recorded = await store.append("cart-1", some_events(2), expected_version=expected)
        assert versions(recorded) == [version + 1, version + 2]
        assert await store.stream_version("cart-1") == version + 2

    @pytest.mark.parametrize(("version", "expected"), UNMET)
    async def test_an_unmet_expectation_writes_nothing(
        self, store: EventStore, version: int, expected: ExpectedVersion
    ) -> None:
        """APPEND-02: An unmet expectation raises `WrongExpectedVersion` with its facts, and nothing is written."""
        if version:
            await store.append("cart-1", some_events(version), expected_version=NO_STREAM)
        async with nothing_written(store):
            with pytest.raises(WrongExpectedVersion) as refusal:
                await store.append("cart-1", some_events(2), expected_version=expected)
        assert refusal.value.mismatches == (("cart-1", expected, version),)
        error = refusal.value
        assert (error.stream_id, error.expected, error.actual) == ("cart-1", expected, version)

    @pytest.mark.parametrize("size", [1, 2, 1_000, 10_000])
    async def test_a_batch_of_any_size_is_contiguous_and_in_order(self, store: EventStore, size: int) -> None:
        """APPEND-03: A batch takes consecutive versions and growing positions, in its own order."""
        await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        batch = some_events(size)
        recorded = await store.append("cart-1", batch, expected_version=1)
        assert versions(recorded) == list(range(2, size + 2))
        assert is_growing(positions(recorded))
        assert [event.event_id for event in recorded] == [event.event_id for event in batch]
        assert (await stream_of(store, "cart-1"))[1:] == recorded

    async def test_what_is_returned_is_what_is_read(self, store: EventStore) -> None:
        """APPEND-04: The returned records equal those read later, from the stream and from the log, field by field."""
        event = NewEvent("Placed", {"total": "9.90", "items": [1, 2.5, None]}, {"user": "ann"})
        recorded = await store.append("order-42", [event, an_event()], expected_version=NO_STREAM)
        assert await stream_of(store, "order-42") == recorded
        assert await log_of(store) == recorded
        (first, _) = recorded
        assert (first.stream_id, first.stream_type, first.version) == ("order-42", "order", 1)
        assert (first.event_id, first.event_type) == (event.event_id, "Placed")
        assert (first.data, first.metadata) == (event.data, event.metadata)

    async def test_created_at_is_now_in_utc(self, store: EventStore) -> None:
        """APPEND-05: `created_at` is the store's clock, aware and in UTC."""
        (recorded,) = await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        assert recorded.created_at.utcoffset() == timedelta(0)
        assert abs(recorded.created_at - datetime.now(UTC)) < timedelta(hours=1)
        assert (await stream_of(store, "cart-1"))[0].created_at.utcoffset() == timedelta(0)

    async def test_created_at_never_decreases_within_a_stream(self, store: EventStore) -> None:
        """APPEND-06: Within a stream, `created_at` never decreases."""
        for _ in range(20):
            await store.append("cart-1", some_events(2), expected_version=ANY)
        times = [event.created_at for event in await stream_of(store, "cart-1")]
        assert times == sorted(times)

    async def test_streams_do_not_mix(self, store: EventStore) -> None:
        """APPEND-07: Each stream counts its own versions."""
        for stream_id in ("cart-1", "cart-2", "cart-1", "cart-2", "cart-1"):
            await store.append(stream_id, some_events(1), expected_version=ANY)
        assert versions(await stream_of(store, "cart-1")) == [1, 2, 3]
        assert versions(await stream_of(store, "cart-2")) == [1, 2]

    # --- The same batch, sent again ------------------------------------------------------------------------------

    @pytest.mark.parametrize("later", [0, 3], ids=["at the end", "followed by others"])
    @pytest.mark.parametrize("expectation", EXPECTATIONS)
    async def test_the_same_batch_sent_again_returns_the_recorded_events(
        self, store: EventStore, expectation: ExpectedVersion | str, later: int
    ) -> None:
        """APPEND-08: A batch sent again returns its events as first recorded, and nothing is written."""
        first = 0 if expectation is NO_STREAM else 2
        if first:
            await store.append("cart-1", some_events(first), expected_version=NO_STREAM)
        batch, expected = some_events(3), after(first, expectation)
        recorded = await store.append("cart-1", batch, expected_version=expected)
        if later:
            await store.append("cart-1", some_events(later), expected_version=ANY)
        async with nothing_written(store):
            assert await store.append("cart-1", batch, expected_version=expected) == recorded

    async def test_exact_zero_sent_again_is_as_no_stream(self, store: EventStore) -> None:
        """APPEND-09: The exact version 0 and `NO_STREAM` mean the same, also for a batch sent again."""
        batch = some_events(2)
        recorded = await store.append("cart-1", batch, expected_version=NO_STREAM)
        assert await store.append("cart-1", batch, expected_version=0) == recorded
        assert await store.append("cart-1", batch, expected_version=NO_STREAM) == recorded

    @pytest.mark.parametrize("expected", [ANY, STREAM_EXISTS])
    async def test_events_sent_again_in_another_cut_are_found_where_they_stand(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        """APPEND-10: `ANY` and `STREAM_EXISTS` recognise ids stored consecutively and in order, however they came."""
        events = some_events(4)
        one = await store.append("cart-1", events[:2], expected_version=ANY)
        two = await store.append("cart-1", events[2:], expected_version=ANY)
        async with nothing_written(store):
            assert await store.append("cart-1", events[1:], expected_version=expected) == [*one[1:], *two]

    async def test_a_large_batch_sent_again_is_recognised(self, store: EventStore) -> None:
        """APPEND-11: Sending again works for batches of any size."""
        batch = some_events(2_000)
        recorded = await store.append("cart-1", batch, expected_version=NO_STREAM)
        assert await store.append("cart-1", batch, expected_version=NO_STREAM) == recorded

    async def test_equal_json_sent_again_is_the_same_payload(self, store: EventStore) -> None:
        """APPEND-12: Payloads are compared as JSON values: the order of keys and the sign of zero do not matter."""
        event = an_event(data={"a": 1e23, "b": {"x": -0.0, "y": 1.0}}, metadata={"p": 5e-324, "q": "é"})
        recorded = await store.append("cart-1", [event], expected_version=NO_STREAM)
        again = an_event(
            data={"b": {"y": 1.0, "x": 0.0}, "a": 1e23}, metadata={"q": "é", "p": 5e-324}, event_id=event.event_id
        )
        assert await store.append("cart-1", [again], expected_version=NO_STREAM) == recorded

    # --- Ids used again by mistake -------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "picks",
        [[1, None], [None, 1], [2, 1], [1, 3], [3, 4, None], [1, None, 2], [4, 0]],
        ids=["a part", "a part behind", "another order", "gap", "grown", "interleaved", "wrapped"],
    )
    async def test_a_batch_that_is_not_the_one_stored_is_refused(
        self, store: EventStore, picks: list[int | None]
    ) -> None:
        """APPEND-13: Stored ids in part, in another order or among others raise `DuplicateEventId`."""
        stored = some_events(5)
        await store.append("cart-1", stored, expected_version=NO_STREAM)
        batch = [an_event() if pick is None else stored[pick] for pick in picks]
        async with nothing_written(store):
            for expected in (picks[0] or 5, NO_STREAM, STREAM_EXISTS, ANY):
                with pytest.raises(DuplicateEventId) as refusal:
                    await store.append("cart-1", batch, expected_version=expected)
                assert set(refusal.value.event_ids) == {stored[pick].event_id for pick in picks if pick is not None}

    @pytest.mark.parametrize("expectation", EXPECTATIONS)
    async def test_ids_stored_in_another_stream_are_refused(
        self, store: EventStore, expectation: ExpectedVersion | str
    ) -> None:
        """APPEND-14: Ids stored in another stream raise `DuplicateEventId`; nothing is written."""
        batch = some_events(2)
        await store.append("cart-1", batch, expected_version=NO_STREAM)
        version = 0 if expectation is NO_STREAM else 1
        if version:
            await store.append("cart-2", some_events(version), expected_version=NO_STREAM)
        async with nothing_written(store):
            with pytest.raises(DuplicateEventId) as refusal:
                await store.append("cart-2", batch, expected_version=after(version, expectation))
        assert set(refusal.value.event_ids) == {event.event_id for event in batch}

    @pytest.mark.parametrize("expected", [NO_STREAM, 0, 2, 4, 5, 9])
    async def test_ids_stored_at_another_place_than_expected_are_refused(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        """APPEND-15: Ids stored in order, but not right after the exact version expected, raise `DuplicateEventId`."""
        stored = some_events(5)
        await store.append("cart-1", stored, expected_version=NO_STREAM)
        async with nothing_written(store):
            with pytest.raises(DuplicateEventId) as refusal:
                await store.append("cart-1", stored[1:3], expected_version=expected)
        assert set(refusal.value.event_ids) == {event.event_id for event in stored[1:3]}

    @pytest.mark.parametrize(
        "change",
        [
            {"event_type": "Other"},
            {"data": {"n": 2}},
            {"data": {"n": 1.0}},
            {"data": {"n": True}},
            {"data": {}},
            {"data": {"n": 1, "more": None}},
            {"metadata": {"m": 2}},
            {"metadata": {}},
        ],
        ids=repr,
    )
    async def test_an_id_with_other_content_is_refused(self, store: EventStore, change: dict[str, Any]) -> None:
        """APPEND-16: A matching id with another type, data or metadata raises `DuplicateEventId`, saying so."""
        event = NewEvent("Happened", {"n": 1}, {"m": 1})
        await store.append("cart-1", [event], expected_version=NO_STREAM)
        changed = msgspec.structs.replace(event, **change)
        async with nothing_written(store):
            for expected in (0, NO_STREAM, STREAM_EXISTS, ANY):
                with pytest.raises(DuplicateEventId, match=r"stored (as|with)") as refusal:
                    await store.append("cart-1", [changed], expected_version=expected)
                assert refusal.value.event_ids == (event.event_id,)

    @pytest.mark.parametrize("expectation", EXPECTATIONS)
    async def test_the_same_id_twice_in_a_batch_is_refused(
        self, store: EventStore, expectation: ExpectedVersion | str
    ) -> None:
        """APPEND-17: The same id twice in one batch raises `InvalidEvent`, whatever is expected."""
        event = an_event()
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append("cart-1", [event, an_event(), event], expected_version=after(0, expectation))
        assert refusal.value.event_id == event.event_id

    async def test_a_refused_append_may_be_tried_again_with_the_true_version(self, store: EventStore) -> None:
        """APPEND-18: The ids of a refused append are free."""
        await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        batch = some_events(2)
        with pytest.raises(WrongExpectedVersion) as refusal:
            await store.append("cart-1", batch, expected_version=NO_STREAM)
        recorded = await store.append("cart-1", batch, expected_version=refusal.value.actual)
        assert versions(recorded) == [2, 3]

    # --- What is refused for itself ------------------------------------------------------------------------------

    @pytest.mark.parametrize("expectation", EXPECTATIONS)
    async def test_appending_to_a_deleted_stream_is_refused(
        self, store: EventStore, expectation: ExpectedVersion | str
    ) -> None:
        """APPEND-19: Appending to a deleted stream raises `StreamDeleted`, whatever is expected."""
        await store.append("cart-1", some_events(2), expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=2)
        async with nothing_written(store):
            with pytest.raises(StreamDeleted) as refusal:
                await store.append("cart-1", some_events(1), expected_version=after(2, expectation))
        assert refusal.value.stream_id == "cart-1"

    async def test_a_batch_sent_again_to_a_deleted_stream_is_refused(self, store: EventStore) -> None:
        """APPEND-20: Once the stream is deleted, a batch sent again raises `StreamDeleted` as well."""
        batch = some_events(2)
        await store.append("cart-1", batch, expected_version=NO_STREAM)
        await store.delete_stream("cart-1", expected_version=ANY)
        with pytest.raises(StreamDeleted):
            await store.append("cart-1", batch, expected_version=NO_STREAM)

    @pytest.mark.parametrize("events", [[], (), None, 5, "text", [None], [{}], ["Happened"]], ids=repr)
    async def test_what_is_no_batch_of_events_is_refused(self, store: EventStore, events: Any) -> None:
        """APPEND-21: An empty batch, or one with anything but `NewEvent` in it, raises `InvalidArgument`."""
        async with nothing_written(store):
            with pytest.raises(InvalidArgument) as refusal:
                await store.append("cart-1", events, expected_version=ANY)
        assert refusal.value.argument == "events"

    async def test_a_bare_event_is_refused(self, store: EventStore) -> None:
        """APPEND-22: One event in place of a list raises `InvalidArgument`."""
        bare: Any = an_event()
        with pytest.raises(InvalidArgument):
            await store.append("cart-1", bare, expected_version=ANY)

    async def test_a_bad_event_refuses_the_whole_batch(self, store: EventStore) -> None:
        """APPEND-23: One event that cannot be stored keeps all the others out."""
        async with nothing_written(store):
            with pytest.raises(InvalidEvent):
                await store.append("cart-1", [*some_events(5), an_event(data={"x": {1}})], expected_version=ANY)

    @pytest.mark.parametrize("stream_id", BAD_NAMES, ids=ascii)
    async def test_a_bad_stream_id_is_refused(self, store: EventStore, stream_id: Any) -> None:
        """APPEND-24: A stream id is a string of 1 to 255 characters without control characters and surrogates."""
        async with nothing_written(store):
            with pytest.raises(InvalidArgument) as refusal:
                await store.append(stream_id, some_events(1), expected_version=ANY)
        assert refusal.value.argument == "stream_id"

    @pytest.mark.parametrize("expected", BAD_VERSIONS, ids=repr)
    async def test_a_bad_expected_version_is_refused(self, store: EventStore, expected: Any) -> None:
        """APPEND-25: An expected version is an integer from 0 to the largest of 64 bits, or one of the constants."""
        async with nothing_written(store):
            with pytest.raises(InvalidArgument) as refusal:
                await store.append("cart-1", some_events(1), expected_version=expected)
        assert refusal.value.argument == "expected_version"

    @pytest.mark.parametrize("event_type", BAD_NAMES, ids=ascii)
    async def test_a_bad_event_type_is_refused(self, store: EventStore, event_type: Any) -> None:
        """APPEND-26: An event type is held to the same rules as a stream id."""
        event = an_event(event_type)
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append("cart-1", [event], expected_version=ANY)
        assert (refusal.value.path, refusal.value.event_id) == ("$.event_type", event.event_id)

    @pytest.mark.parametrize("event_id", [None, "", str(UUID(int=1)), 1, b"\0" * 16], ids=repr)
    async def test_an_event_id_that_is_no_uuid_is_refused(self, store: EventStore, event_id: Any) -> None:
        """APPEND-27: An event id is a `uuid.UUID`."""
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append("cart-1", [an_event(event_id=event_id)], expected_version=ANY)
        assert refusal.value.path == "$.event_id"

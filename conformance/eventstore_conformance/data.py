"""Chapter Data: one JSON data model on every engine, and names that are plain data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import product
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eventstore import ANY, NO_STREAM, EventStore, InvalidEvent, JsonObject, NewEvent
from eventstore_conformance.chapter import Chapter, MakeStore
from eventstore_conformance.effort import EFFORT
from eventstore_conformance.making import MIB, an_event, fresh, nested, object_of_size
from eventstore_conformance.observing import log_of, nothing_written, same_json, stream_of

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=6), max_leaves=25
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=6)

# The suite is one test function in many classes, and the examples of a test share its store.
many_examples = settings(
    max_examples=EFFORT.examples(50, thorough=2_000),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
    ],
)

NOT_JSON: list[Any] = [
    float("nan"),
    float("inf"),
    float("-inf"),
    "nul \0 inside",
    "lone \ud800",
    "\udfff lone",
    2**63,
    -(2**63) - 1,
    2**64,
    10**400,
    (),
    (1, 2),
    {1, 2},
    frozenset(),
    b"bytes",
    bytearray(),
    datetime(2020, 1, 1, tzinfo=UTC),
    datetime(2020, 1, 1, tzinfo=UTC).date(),
    Decimal("9.90"),
    Fraction(1, 3),
    1j,
    UUID(int=1),
    PurePosixPath("x"),
    Enum("Colour", ["RED"]).RED,  # type: ignore[attr-defined]
    range(3),
    ...,
    int,
    print,
    NewEvent("Nested", {}),
]

# Where a value may stand in a payload, and the path that names the place.
PLACES: list[tuple[str, Callable[[Any], JsonObject]]] = [
    (".x", lambda value: {"x": value}),
    (".list[1]", lambda value: {"list": [0, value, 2]}),
    (".a.b[0][2].c", lambda value: {"a": {"b": [[0, 1, {"c": value}]]}, "z": 1}),
    ("['a key']", lambda value: {"before": {}, "a key": value}),
]

BAD_KEYS: list[Any] = [1, 1.5, True, None, (), b"k", UUID(int=1), "nul\0", "lone \ud800"]

EXACT_VALUES: list[Any] = [
    1e23,
    1e22,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    0.1,
    1.0,
    -1.0,
    0.0,
    100.0,
    1e15,
    1e16,
    123456789012345680.0,
    9007199254740993.0,
    9.223372036854775807e18,
    0,
    1,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    10**18,
    True,
    False,
    None,
    "",
    "\u0001\u001f\u007f\u0080\u2028\u2029\ufeff\uffff",
    "\\u0000",
    '"\\/\b\f\n\r\t',
    "\U0001f600\U0010ffff",
    "e\u0301",
    "1.0",
    [],
    {},
    [[], {}, [[]], None],
    {"": {"": ""}},
    {"a": 1, "A": 2, "á": 3, "a\u0301": 4},
    {"__proto__": 1, "$ref": 2, "%s": 3, "a.b": 4, "[0]": 5},
]


def in_part(part: str, payload: Any) -> NewEvent:
    """Return an event with a payload as its data or as its metadata."""
    return NewEvent("Happened", **{"data": {}, part: payload})


class Data(Chapter):
    """Payloads."""

    # --- What is written is what is read -------------------------------------------------------------------------

    @many_examples
    @given(data=OBJECTS, metadata=OBJECTS)
    async def test_json_is_read_as_it_was_written(
        self, store: EventStore, data: JsonObject, metadata: JsonObject
    ) -> None:
        """DATA-01: Every value of the data model comes back equal, integers and floats told apart."""
        stream_id = fresh("data")
        (returned,) = await store.append(stream_id, [NewEvent("Happened", data, metadata)], expected_version=NO_STREAM)
        (read,) = await stream_of(store, stream_id)
        assert same_json(read.data, data)
        assert same_json(read.metadata, metadata)
        assert same_json([returned.data, returned.metadata], [data, metadata])

    @many_examples
    @given(numbers=st.lists(INTEGERS | FLOATS, min_size=20, max_size=60))
    async def test_numbers_are_read_as_they_were_written(self, store: EventStore, numbers: list[int | float]) -> None:
        """DATA-02: Integers of 64 bits and finite floats come back exactly."""
        stream_id = fresh("data")
        await store.append(stream_id, [an_event(data={"numbers": numbers})], expected_version=NO_STREAM)
        (read,) = await stream_of(store, stream_id)
        assert same_json(read.data, {"numbers": numbers})

    @pytest.mark.parametrize("value", EXACT_VALUES, ids=ascii)
    async def test_a_value_that_engines_like_to_change_stays_as_it_is(self, store: EventStore, value: Any) -> None:
        """DATA-03: Numbers at the edges, escapes, empty and odd names come back equal, in the stream and in the log."""
        payload = {"value": value, "list": [value, value], "deep": [{"x": value}]}
        event = NewEvent("Happened", payload, {"metadata": payload})
        (returned,) = await store.append("data-1", [event], expected_version=NO_STREAM)
        (in_stream,) = await stream_of(store, "data-1")
        (in_log,) = await log_of(store)
        for found in (returned, in_stream, in_log):
            assert same_json(found.data, payload)
            assert same_json(found.metadata, {"metadata": payload})

    async def test_minus_zero_is_zero(self, store: EventStore) -> None:
        """DATA-04: Minus zero comes back as a float equal to 0.0, on every engine the same one: 0.0."""
        await store.append("data-1", [an_event(data={"x": -0.0, "y": [-0.0]})], expected_version=NO_STREAM)
        (read,) = await stream_of(store, "data-1")
        assert repr(read.data) == "{'x': 0.0, 'y': [0.0]}"

    async def test_an_empty_payload_is_empty(self, store: EventStore) -> None:
        """DATA-05: Data and metadata may be empty objects."""
        await store.append("data-1", [NewEvent("Happened", {}, {})], expected_version=NO_STREAM)
        (read,) = await stream_of(store, "data-1")
        assert (read.data, read.metadata) == ({}, {})

    async def test_a_wide_payload_is_kept(self, store: EventStore) -> None:
        """DATA-06: An object with thousands of keys and an array of thousands of values come back equal."""
        data = {f"key {n}": n for n in range(5_000)} | {"list": [n / 3 for n in range(5_000)]}
        await store.append("data-1", [an_event(data=data)], expected_version=NO_STREAM)
        (read,) = await stream_of(store, "data-1")
        assert same_json(read.data, data)

    @pytest.mark.parametrize("part", ["data", "metadata"])
    async def test_a_payload_100_levels_deep_is_kept(self, store: EventStore, part: str) -> None:
        """DATA-07: Objects and arrays nest up to 100 levels, the payload being the first."""
        await store.append("data-1", [in_part(part, nested(100))], expected_version=NO_STREAM)
        (read,) = await stream_of(store, "data-1")
        assert getattr(read, part) == nested(100)

    @pytest.mark.parametrize("part", ["data", "metadata"])
    async def test_a_payload_101_levels_deep_is_refused(self, store: EventStore, part: str) -> None:
        """DATA-08: The 101st level is refused, and its place is named."""
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append("data-1", [in_part(part, nested(101))], expected_version=NO_STREAM)
        assert refusal.value.path == f"$.{part}" + ".x[0]" * 50

    @pytest.mark.parametrize("part", ["data", "metadata"])
    async def test_a_payload_of_just_the_limit_is_kept(self, store: EventStore, part: str) -> None:
        """DATA-09: Data, and metadata, of 1 MiB of JSON text are kept."""
        payload = object_of_size(MIB)
        await store.append("data-1", [in_part(part, payload)], expected_version=NO_STREAM)
        (read,) = await stream_of(store, "data-1")
        assert getattr(read, part) == payload

    @pytest.mark.parametrize("part", ["data", "metadata"])
    async def test_a_payload_beyond_the_limit_is_refused(self, store: EventStore, part: str) -> None:
        """DATA-10: One byte more than 1 MiB is refused; bytes of UTF-8 are counted, not characters."""
        too_large = [object_of_size(MIB + 1), {"text": "é" * (MIB // 2)}]
        async with nothing_written(store):
            for payload in too_large:
                with pytest.raises(InvalidEvent) as refusal:
                    await store.append("data-1", [in_part(part, payload)], expected_version=NO_STREAM)
                assert refusal.value.path == f"$.{part}"

    async def test_the_limit_is_an_option(self, make_store: MakeStore) -> None:
        """DATA-11: `max_event_size` sets another limit."""
        async with make_store(max_event_size=100) as store:
            await store.append("data-1", [an_event(data=object_of_size(100))], expected_version=NO_STREAM)
            with pytest.raises(InvalidEvent):
                await store.append("data-1", [an_event(data=object_of_size(101))], expected_version=1)

    # --- What is refused -----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: ascii(value)[:30])
    async def test_what_is_no_json_is_refused_wherever_it_stands(self, store: EventStore, value: Any) -> None:
        """DATA-12: What is outside the data model raises `InvalidEvent` with its path; nothing is written."""
        async with nothing_written(store):
            for part, (path, payload_with) in product(("data", "metadata"), PLACES):
                event = in_part(part, payload_with(value))
                with pytest.raises(InvalidEvent) as refusal:
                    await store.append("data-1", [an_event(), event], expected_version=ANY)
                assert (refusal.value.path, refusal.value.event_id) == (f"$.{part}{path}", event.event_id)

    @pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
    async def test_a_bad_key_is_refused_wherever_it_stands(self, store: EventStore, key: Any) -> None:
        """DATA-13: Keys are strings without NUL and lone surrogates; the path leads to the object."""
        async with nothing_written(store):
            for part, (path, payload_with) in product(("data", "metadata"), PLACES):
                event = in_part(part, payload_with({"good": 1, key: 2}))
                with pytest.raises(InvalidEvent) as refusal:
                    await store.append("data-1", [event], expected_version=ANY)
                assert refusal.value.path.startswith(f"$.{part}{path}")

    @pytest.mark.parametrize("part", ["data", "metadata"])
    @pytest.mark.parametrize("payload", [None, [], [{}], "text", 1, 1.5, True, (), b"{}", {1}, ...], ids=ascii)
    async def test_a_payload_is_an_object(self, store: EventStore, payload: Any, part: str) -> None:
        """DATA-14: Data and metadata are objects; anything else is refused."""
        async with nothing_written(store):
            with pytest.raises(InvalidEvent) as refusal:
                await store.append("data-1", [in_part(part, payload)], expected_version=ANY)
        assert refusal.value.path == f"$.{part}"

    async def test_a_payload_within_itself_is_refused(self, store: EventStore) -> None:
        """DATA-15: A circular payload is refused."""
        data: JsonObject = {"list": []}
        data["list"].append(data)
        async with nothing_written(store):
            with pytest.raises(InvalidEvent):
                await store.append("data-1", [an_event(data=data)], expected_version=ANY)

    # --- Nothing is shared ---------------------------------------------------------------------------------------

    async def test_changing_what_was_passed_in_changes_nothing(self, store: EventStore) -> None:
        """DATA-16: A payload and a batch may be changed after the call; the store keeps what it was given."""
        data: JsonObject = {"list": [1], "object": {"x": 1}}
        batch = [NewEvent("Happened", data, metadata := {"who": ["ann"]})]
        (returned,) = await store.append("data-1", batch, expected_version=NO_STREAM)
        data["list"].append(2)
        data["object"]["x"] = 2
        metadata["who"].append("bob")
        batch.append(an_event())
        (read,) = await stream_of(store, "data-1")
        for event in (returned, read):
            assert (event.data, event.metadata) == ({"list": [1], "object": {"x": 1}}, {"who": ["ann"]})

    async def test_changing_what_was_returned_changes_nothing(self, store: EventStore) -> None:
        """DATA-17: A returned record is the caller's; changing it changes neither the store nor the event passed."""
        event = an_event(data={"list": [1]}, metadata={"who": ["ann"]})
        (returned,) = await store.append("data-1", [event], expected_version=NO_STREAM)
        returned.data["list"].append(2)
        returned.metadata["who"].append("bob")
        (read,) = await stream_of(store, "data-1")
        for kept in (event, read):
            assert (kept.data, kept.metadata) == ({"list": [1]}, {"who": ["ann"]})

    async def test_changing_what_was_read_changes_nothing(self, store: EventStore) -> None:
        """DATA-18: Every read hands out data of its own: from a stream, from the log, and for a batch sent again."""
        batch = [an_event(data={"list": [1]})]
        await store.append("data-1", batch, expected_version=NO_STREAM)
        for _ in range(2):
            (again,) = await store.append("data-1", batch, expected_version=NO_STREAM)
            for event in (again, *await stream_of(store, "data-1"), *await log_of(store)):
                assert event.data == {"list": [1]}
                event.data["list"].append("changed")

    async def test_events_that_share_data_are_kept_apart(self, store: EventStore) -> None:
        """DATA-19: Events made from one object come back with data of their own."""
        shared: JsonObject = {"list": []}
        events = await store.append(
            "data-1", [NewEvent("Happened", shared, shared), an_event(data=shared)], expected_version=NO_STREAM
        )
        events[0].data["list"].append(1)
        assert (events[0].metadata, events[1].data) == ({"list": []}, {"list": []})

    # --- Event ids -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "event_id",
        [
            UUID("9b903dd8-e78d-11f1-9ec7-02fc00000001"),
            UUID("92fab8ef-3596-4724-992a-b4eb9efb3f2d"),
            UUID(int=0),
            UUID(int=2**128 - 1),
            UUID(int=2**127),
        ],
        ids=str,
    )
    async def test_any_uuid_is_an_event_id(self, store: EventStore, event_id: UUID) -> None:
        """DATA-20: An event id is any UUID, of whatever version, and comes back as one."""
        await store.append("data-1", [an_event(event_id=event_id)], expected_version=NO_STREAM)
        (read,) = await stream_of(store, "data-1")
        assert read.event_id == event_id
        assert type(read.event_id) is UUID

    async def test_new_events_get_ids_of_their_own(self, store: EventStore) -> None:
        """DATA-21: An event without an id gets a new one, so that events of equal content are all kept."""
        equal = [NewEvent("Happened", {"n": 1}, {"m": 1}) for _ in range(4)]
        assert len({event.event_id for event in equal}) == 4
        recorded = await store.append("data-1", equal[:2], expected_version=NO_STREAM)
        recorded += await store.append("data-1", equal[2:3], expected_version=ANY)
        recorded += await store.append("data-2", equal[3:], expected_version=NO_STREAM)
        assert [event.event_id for event in recorded] == [event.event_id for event in equal]
        assert await log_of(store) == recorded
        assert await stream_of(store, "data-1") == recorded[:3]

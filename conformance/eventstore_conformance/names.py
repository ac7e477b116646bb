"""Chapter Data, continued: names are plain data, compared byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import ANY, NO_STREAM, EventStore, Filter
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.data import many_examples
from eventstore_conformance.making import LOOKALIKES, PECULIAR_NAMES, an_event, fresh, some_events
from eventstore_conformance.observing import collect, ids_in, stream_of, streams_of

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)


class Names(Chapter):
    """Stream ids and event types; chapters Snapshots and Checkpoints do the same for theirs."""

    async def test_a_stream_id_is_plain_data(self, store: EventStore) -> None:
        """NAME-01: Quotes, wildcards, right-to-left, emoji, 255 characters: a stream id is kept and found as it is."""
        for version, stream_id in enumerate(PECULIAR_NAMES):
            await store.append(stream_id, some_events(version + 1), expected_version=NO_STREAM)
        for version, stream_id in enumerate(PECULIAR_NAMES):
            events = await stream_of(store, stream_id)
            assert [event.stream_id for event in events] == [stream_id] * (version + 1)
            assert await store.stream_version(stream_id) == version + 1
        assert [info.stream_id for info in await streams_of(store)] == sorted(PECULIAR_NAMES)

    async def test_an_event_type_is_plain_data(self, store: EventStore) -> None:
        """NAME-02: An event type is kept and filtered by as it is."""
        await store.append("name-1", [an_event(name) for name in PECULIAR_NAMES], expected_version=NO_STREAM)
        assert [event.event_type for event in await stream_of(store, "name-1")] == list(PECULIAR_NAMES)
        for version, name in enumerate(PECULIAR_NAMES, 1):
            found = await collect(store.read_all(filter=Filter(event_types=[name])))
            assert [event.version for event in found] == [version]

    async def test_a_prefix_is_plain_text(self, store: EventStore) -> None:
        """NAME-03: A prefix is no pattern: whatever is in it stands for itself."""
        for stream_id in PECULIAR_NAMES:
            await store.append(stream_id, some_events(1), expected_version=NO_STREAM)
        for prefix in {name[:length] for name in PECULIAR_NAMES for length in (1, 2, 5)} | {"%", "_", "%%", "[a-z]"}:
            expected = [name for name in PECULIAR_NAMES if name.startswith(prefix)]
            found = await collect(store.read_all(filter=Filter(stream_id_prefix=prefix)))
            assert [event.stream_id for event in found] == expected
            assert await ids_in(store.list_streams(prefix=prefix)) == sorted(expected)

    @pytest.mark.parametrize(("one", "other"), LOOKALIKES, ids=ascii)
    async def test_names_that_look_alike_are_kept_apart(self, store: EventStore, one: str, other: str) -> None:
        """NAME-04: No case folding, no normalisation, no collation, no trimming."""
        await store.append(one, [an_event(one)], expected_version=NO_STREAM)
        assert await stream_of(store, other) == []
        assert await collect(store.read_all(filter=Filter(event_types=[other]))) == []
        await store.append(other, [an_event(other)] * 1, expected_version=NO_STREAM)
        assert [event.event_type for event in await stream_of(store, one)] == [one]
        found = await collect(store.read_all(filter=Filter(event_types=[other], stream_id_prefix=other)))
        assert [event.stream_id for event in found] == [other]

    @many_examples
    @given(name=NAMES)
    async def test_any_text_without_control_characters_is_a_name(self, store: EventStore, name: str) -> None:
        """NAME-05: Whatever Unicode has, it is a name for streams and event types and comes back as it was."""
        stream_id = f"{fresh('n')}{name}"
        await store.append(stream_id, [an_event(name)], expected_version=ANY)
        (read,) = await stream_of(store, stream_id)
        assert (read.stream_id, read.event_type) == (stream_id, name)
        assert await ids_in(store.list_streams(prefix=stream_id)) == [stream_id]

    @pytest.mark.parametrize(
        ("stream_id", "stream_type"),
        [
            ("order-42", "order"),
            ("order-42-1", "order"),
            ("order", "order"),
            ("order_42", "order_42"),
            ("-42", ""),
            ("Заказ-1", "Заказ"),
            ("order\u201042", "order\u201042"),
        ],
    )
    async def test_the_stream_type_is_what_stands_before_the_first_dash(
        self, store: EventStore, stream_id: str, stream_type: str
    ) -> None:
        """NAME-06: A stream's type is its id up to the first `-`, the whole id where there is none."""
        (returned,) = await store.append(stream_id, some_events(1), expected_version=NO_STREAM)
        (read,) = await stream_of(store, stream_id)
        info = await store.stream_info(stream_id)
        assert info is not None
        assert (returned.stream_type, read.stream_type, info.stream_type) == (stream_type,) * 3

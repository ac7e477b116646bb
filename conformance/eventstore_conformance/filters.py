"""Chapter Reading, continued: filters on the log."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from eventstore import ANY, NO_STREAM, EventStore, Filter, InvalidArgument, RecordedEvent
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import an_event, some_events
from eventstore_conformance.observing import collect, log_of, positions


async def fill(store: EventStore) -> list[RecordedEvent]:
    """Append events of three types to streams of several types in turn; return the log."""
    for n in range(24):
        stream_id = ("order-1", "order-2", "orders-1", "order", "ord%-1", "ord_-1")[n % 6]
        await store.append(stream_id, [an_event(("Placed", "Paid", "placed")[n % 4 % 3])], expected_version=ANY)
    return await log_of(store)


class Filters(Chapter):
    """`read_all(filter=…)`."""

    async def test_stream_types_are_compared_whole(self, small_pages_store: EventStore) -> None:
        """FILTER-01: `stream_types` lists the accepted types; a type is not a prefix."""
        log = await fill(small_pages_store)
        for types in (["order"], ["orders"], ["order", "orders"], ["ord%"], ["ord_"], ["ord"], ["order-1"]):
            found = await collect(small_pages_store.read_all(filter=Filter(stream_types=types)))
            assert found == [event for event in log if event.stream_type in types]

    async def test_event_types_are_compared_whole(self, small_pages_store: EventStore) -> None:
        """FILTER-02: `event_types` lists the accepted types, compared exactly."""
        log = await fill(small_pages_store)
        for types in (["Placed"], ["placed"], ["Placed", "Paid"], ["P"], ["PLACED"]):
            found = await collect(small_pages_store.read_all(filter=Filter(event_types=types)))
            assert found == [event for event in log if event.event_type in types]

    async def test_a_prefix_is_compared_with_the_stream_id(self, small_pages_store: EventStore) -> None:
        """FILTER-03: `stream_id_prefix` is compared as plain text: `%` and `_` stand for themselves."""
        log = await fill(small_pages_store)
        for prefix in ("o", "order", "order-", "order-1", "ord%", "ord_", "%", "_", "ORDER", "r", "order-10"):
            found = await collect(small_pages_store.read_all(filter=Filter(stream_id_prefix=prefix)))
            assert found == [event for event in log if event.stream_id.startswith(prefix)]

    async def test_both_ends_of_a_time_range_are_inclusive(self, small_pages_store: EventStore) -> None:
        """FILTER-04: `created_from` and `created_to` are inclusive, to the microsecond."""
        log = await fill(small_pages_store)
        tick = timedelta(microseconds=1)
        for time in {log[0].created_at, log[11].created_at, log[-1].created_at}:
            for bound in (time - tick, time, time + tick):
                since = await collect(small_pages_store.read_all(filter=Filter(created_from=bound)))
                until = await collect(small_pages_store.read_all(filter=Filter(created_to=bound)))
                assert since == [event for event in log if event.created_at >= bound]
                assert until == [event for event in log if event.created_at <= bound]

    async def test_a_time_in_any_zone_is_the_same_instant(self, store: EventStore) -> None:
        """FILTER-05: Times are compared as instants, whatever zone they are given in."""
        log = await fill(store)
        far_east = log[11].created_at.astimezone(timezone(timedelta(hours=13, minutes=45)))
        found = await collect(store.read_all(filter=Filter(created_from=far_east, created_to=far_east)))
        assert found == [event for event in log if event.created_at == far_east]

    async def test_all_conditions_hold_together(self, small_pages_store: EventStore) -> None:
        """FILTER-06: An event must meet every condition given; none given means every event."""
        log = await fill(small_pages_store)
        middle = log[12].created_at
        filters = [
            Filter(),
            Filter(stream_types=["order"], event_types=["Placed"]),
            Filter(stream_types=["order", "ord%"], stream_id_prefix="ord"),
            Filter(stream_types=["order"], stream_id_prefix="orders"),
            Filter(stream_types=["order"], created_from=middle),
            Filter(event_types=["Paid"], created_to=middle),
            Filter(
                stream_types=["order"],
                stream_id_prefix="order-",
                event_types=["Placed", "placed"],
                created_from=log[3].created_at,
                created_to=middle,
            ),
        ]
        for chosen in filters:
            found = await collect(small_pages_store.read_all(filter=chosen))
            assert found == [event for event in log if chosen.matches(event)], chosen

    async def test_bounds_limits_and_directions_hold_with_a_filter(self, small_pages_store: EventStore) -> None:
        """FILTER-07: Bounds, limit and direction mean the same with a filter; the limit counts matches."""
        log = await fill(small_pages_store)
        chosen = Filter(event_types=["Paid"])
        matching = [event for event in log if event.event_type == "Paid"]
        for bound in positions(log)[::5]:
            above = [event for event in matching if event.global_position > bound]
            below = [event for event in matching if event.global_position < bound]
            read = small_pages_store.read_all
            assert await collect(read(filter=chosen, after=bound)) == above
            assert await collect(read(filter=chosen, after=bound, limit=2)) == above[:2]
            assert await collect(read(filter=chosen, after=bound, backward=True)) == above[::-1]
            assert await collect(read(filter=chosen, before=bound)) == below
            assert await collect(read(filter=chosen, before=bound, backward=True, limit=4)) == below[::-1][:4]

    async def test_a_sparse_filter_finds_what_is_far_away(self, small_pages_store: EventStore) -> None:
        """FILTER-08: Pages without a match do not end the reading."""
        store = small_pages_store
        (first,) = await store.append("rare-1", some_events(1), expected_version=NO_STREAM)
        await store.append("noise-1", some_events(100), expected_version=NO_STREAM)
        (last,) = await store.append("rare-1", some_events(1), expected_version=1)
        await store.append("noise-1", some_events(100), expected_version=100)
        chosen = Filter(stream_types=["rare"])
        assert await collect(store.read_all(filter=chosen)) == [first, last]
        assert await collect(store.read_all(filter=chosen, backward=True)) == [last, first]
        assert await collect(store.read_all(filter=chosen, after=first.global_position)) == [last]
        assert await collect(store.read_all(filter=chosen, after=last.global_position)) == []

    async def test_events_of_deleted_streams_are_found(self, store: EventStore) -> None:
        """FILTER-09: A tombstone hides nothing in the log, with a filter or without."""
        recorded = await store.append("order-1", some_events(2), expected_version=NO_STREAM)
        await store.delete_stream("order-1", expected_version=ANY)
        for chosen in (Filter(stream_types=["order"]), Filter(stream_id_prefix="order-1")):
            assert await collect(store.read_all(filter=chosen)) == recorded

    async def test_any_collection_lists_types(self, store: EventStore) -> None:
        """FILTER-10: Types are given as any collection, with repetitions or without."""
        log = await fill(store)
        wanted = [event for event in log if event.event_type in ("Placed", "Paid")]
        collections: list[Any] = [
            ("Placed", "Paid"),
            {"Placed", "Paid"},
            {"Placed": 1, "Paid": 2},
            ["Paid", "Placed"] * 3,
        ]
        for types in collections:
            assert await collect(store.read_all(filter=Filter(event_types=types))) == wanted

    @pytest.mark.parametrize("filter", ["order", {"stream_types": ["order"]}, ["order"], True], ids=repr)
    async def test_what_is_no_filter_is_refused_at_once(self, store: EventStore, filter: Any) -> None:
        """FILTER-14: Anything but a `Filter` raises `InvalidArgument` at the call."""
        with pytest.raises(InvalidArgument) as refusal:
            store.read_all(filter=filter)
        assert refusal.value.argument == "filter"

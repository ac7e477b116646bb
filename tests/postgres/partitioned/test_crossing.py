"""A log in partitions is written across their boundaries, and read in order, from no partition but those it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    Filter,
    StreamWrite,
    WrongExpectedVersion,
    open_store,
)
from eventstore_postgres.queries import Queries
from tests.postgres.driving import event
from tests.postgres.partitioned.driving import SIZE, bounds, fill, log_of
from tests.postgres.test_settled_log import follow_under_load

pytestmark = pytest.mark.asyncio

# --- Crossing boundaries ----------------------------------------------------------------------------------------------


async def test_a_batch_goes_from_one_partition_into_the_next(store: EventStore) -> None:
    await fill(store, SIZE - 2)
    recorded = await store.append("order-1", [event() for _ in range(5)], expected_version=NO_STREAM)
    assert recorded[0].global_position <= SIZE < recorded[-1].global_position
    assert [event async for event in store.read_stream("order-1")] == recorded


async def test_a_batch_larger_than_all_partitions_that_are_there_is_stored(store: EventStore) -> None:
    recorded = await store.append("order-1", [event() for _ in range(7 * SIZE)], expected_version=NO_STREAM)
    assert [event.version for event in recorded] == list(range(1, 7 * SIZE + 1))
    assert [event async for event in store.read_all()] == recorded


async def test_several_streams_are_appended_to_across_partitions_or_not_at_all(store: EventStore) -> None:
    writes = [StreamWrite(f"order-{number}", [event() for _ in range(SIZE)], NO_STREAM) for number in range(6)]
    await store.append_many(writes)
    with pytest.raises(WrongExpectedVersion):
        await store.append_many(
            [StreamWrite("order-9", [event()] * 1, NO_STREAM), StreamWrite("order-1", [event()], 1)]
        )
    assert await log_of(store) == [(f"order-{n}", version) for n in range(6) for version in range(1, SIZE + 1)]


async def test_racing_writers_cross_boundaries_and_lose_nothing(url: str) -> None:
    async with open_store(url) as one, open_store(url) as other:

        async def write(store: EventStore, stream_id: str) -> None:
            for _ in range(20):
                await store.append(stream_id, [event(), event()], expected_version=ANY)

        await asyncio.gather(*(write(store, f"order-{n}") for n in range(4) for store in (one, other)))
        assert sorted(await log_of(one)) == [(f"order-{n}", version) for n in range(4) for version in range(1, 81)]


async def test_a_transaction_goes_from_one_partition_into_the_next(store: EventStore) -> None:
    async with store.transaction() as transaction:
        for _ in range(6):
            await transaction.append("order-1", [event() for _ in range(SIZE - 1)], expected_version=ANY)
    assert await store.stream_version("order-1") == 6 * (SIZE - 1)


async def test_a_transaction_of_the_callers_own_goes_on_where_a_partition_was_missing(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    bound = store.bind(connection)
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await bound.append("order-1", [event()], expected_version=NO_STREAM)
    await bound.append("order-1", [event() for _ in range(5 * SIZE)], expected_version=1)
    await connection.execute("COMMIT")
    assert await log_of(store) == [("order-1", version) for version in range(1, 5 * SIZE + 2)]


async def test_a_stream_is_deleted_where_its_guard_finds_no_partition(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    await fill(store, 1, "order-1")
    await connection.execute("SELECT setval('events_global_position_seq', 1000)")
    await store.delete_stream("order-1", expected_version=1)
    assert await bounds(connection) == [(1, 10), (11, 20), (1002, 1011), (1012, 1021)]


async def test_a_follower_misses_nothing_under_load_across_boundaries(store: EventStore, url: str) -> None:
    async def read_on(bookmark: int) -> list[tuple[int, str]]:
        return [(event.global_position, str(event.event_id)) async for event in store.read_all(after=bookmark)]

    seen, committed = await follow_under_load(url, read_on)
    positions = [position for position, _ in seen]
    assert positions[-1] > 20 * SIZE
    assert positions == sorted(set(positions)), "in order, none twice"
    assert {event_id for _, event_id in seen} == committed, "nothing missed, nothing that was rolled back"


# --- Reading ----------------------------------------------------------------------------------------------------------


async def test_the_log_is_read_in_order_across_partitions_with_and_without_a_filter(store: EventStore) -> None:
    for number in range(4 * SIZE):
        await store.append(f"{'order' if number % 3 else 'stock'}-{number}", [event()], expected_version=NO_STREAM)
    in_order = [(f"{'order' if number % 3 else 'stock'}-{number}", 1) for number in range(4 * SIZE)]
    stock = [place for place in in_order if place[0].startswith("stock")]
    assert await log_of(store) == in_order
    assert await log_of(store, backward=True) == in_order[::-1]
    assert await log_of(store, Filter(stream_types=["stock"])) == stock
    assert await log_of(store, Filter(stream_types=["stock"]), backward=True) == stock[::-1]


async def test_streams_of_all_partitions_are_listed(store: EventStore) -> None:
    names = [f"order-{number:02}" for number in range(3 * SIZE)]
    for name in names:
        await store.append(name, [event()], expected_version=NO_STREAM)
    await store.delete_stream(names[7], expected_version=1, erase=True)
    await store.truncate_stream(names[8], 2)
    listed = [info.stream_id async for info in store.list_streams(stream_type="order")]
    assert listed == [name for name in names if name != names[7]]
    assert [info.stream_id async for info in store.list_streams(after=names[24], limit=2)] == names[25:27]


@pytest_asyncio.fixture
async def long_log(store: EventStore, connection: psycopg.AsyncConnection) -> psycopg.AsyncConnection:
    """A connection to a store of 200 events: the 95th and the 105th are of the stream order-1; else filled-1."""
    await connection.execute("SELECT make_partitions(200)")
    for events in (94, 1, 9, 1, 95):
        stream_id = "order-1" if events == 1 else "filled-1"
        await store.append(stream_id, [event() for _ in range(events)], expected_version=ANY)
    return connection


READS: Mapping[str, tuple[tuple[str, ...], dict[str, object], set[str]]] = {
    "the tail": (("read_all_forward", "oldest_first"), {"start": 196, "limit": 4}, {"events_from_191"}),
    "the end": (("read_all_backward", "newest_first"), {"start": 201, "limit": 4}, {"events_from_191"}),
    "a page": (("read_all_forward", "oldest_first"), {"start": 54, "limit": 4}, {"events_from_51"}),
    "a stream": (
        ("read_stream_forward",),
        {"stream_id": "order-1", "start": 1, "limit": 10},
        {"events_from_91", "events_from_101"},
    ),
    "a stream's end": (
        ("read_stream_backward",),
        {"stream_id": "filled-1", "start": 1000, "limit": 4},
        {"events_from_191"},
    ),
}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(("names", "parameters", "partitions"), READS.values(), ids=READS.keys())
async def test_a_read_touches_no_partition_but_those_where_its_events_are(
    long_log: psycopg.AsyncConnection,
    schema: sql.Identifier,
    plans: str,
    names: tuple[str, ...],
    parameters: dict[str, object],
    partitions: set[str],
) -> None:
    queries = Queries(schema.as_string().strip('"'))
    queries.lay_out(is_partitioned=True)
    query = b"".join(queries[name] for name in names).decode()
    for number, name in enumerate(parameters, 1):
        query = query.replace(f"%({name})s", f"${number}")
    await long_log.execute(f"SET plan_cache_mode = {plans}".encode())
    # Whatever the planner takes the size of the tables for.
    await long_log.execute("SET enable_nestloop = off")
    await long_log.execute(f"PREPARE reading AS {query}".encode())
    execute = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE reading ({})")
    cursor = await long_log.execute(execute.format(sql.SQL(", ").join(map(sql.Literal, parameters.values()))))
    (((plan,),),) = await cursor.fetchall()
    assert {table for table in touched(plan["Plan"]) if table.startswith("events_from")} == partitions


def touched(plan: dict[str, Any]) -> Iterator[str]:
    """Return the tables that a plan has read."""
    if "Relation Name" in plan and plan["Actual Loops"]:
        yield plan["Relation Name"]
    for part in plan.get("Plans", []):
        yield from touched(part)

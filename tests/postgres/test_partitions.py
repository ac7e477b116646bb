"""A log in partitions: made in time, whoever appends; read in order; and as safe as in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import (
    ANY,
    NO_STREAM,
    DuplicateEventId,
    EventStore,
    Filter,
    InvalidUrl,
    NewEvent,
    RecordedEvent,
    SchemaError,
    StreamDeleted,
    StreamWrite,
    WrongExpectedVersion,
    open_store,
)
from eventstore_postgres.queries import Queries
from tests.postgres.driving import connected, event, until_blocked
from tests.postgres.test_settled_log import follow_under_load

pytestmark = pytest.mark.asyncio

SIZE = 10


@pytest.fixture
def url(postgres_url: str) -> str:
    return f"{postgres_url}&partition_size={SIZE}"


@pytest.fixture
def schema(postgres_url: str) -> sql.Identifier:
    return sql.Identifier(parse_qs(postgres_url.partition("?")[2])["schema"][0])


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with open_store(url) as store:
        yield store


@pytest_asyncio.fixture
async def connection(url: str, schema: sql.Identifier) -> AsyncIterator[psycopg.AsyncConnection]:
    """A superuser's connection whose search path is the store's schema."""
    async with connected(url) as connection:
        await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        yield connection


@pytest_asyncio.fixture
async def role(connection: psycopg.AsyncConnection) -> AsyncIterator[str]:
    """A role that owns nothing."""
    await connection.execute("CREATE ROLE visitor LOGIN")
    yield "visitor"
    await connection.execute("DROP OWNED BY visitor CASCADE; DROP ROLE visitor")


async def rows(connection: psycopg.AsyncConnection, query: str) -> list[tuple[int, ...]]:
    return await (await connection.execute(query.encode())).fetchall()


async def bounds(connection: psycopg.AsyncConnection) -> list[tuple[int, ...]]:
    """Return the first and last position of each partition, in order."""
    query = r"""
        SELECT bound[1]::bigint, bound[2]::bigint - 1
        FROM pg_inherits
        JOIN pg_class ON pg_class.oid = inhrelid
        CROSS JOIN regexp_match(pg_get_expr(relpartbound, pg_class.oid), '\(''(\d+)''\) TO \(''(\d+)''\)') AS bound
        WHERE inhparent = 'events'::regclass ORDER BY 1
    """
    return await rows(connection, query)


async def fill(store: EventStore, events: int, stream_id: str = "filled-1") -> None:
    for _ in range(events):
        await store.append(stream_id, [event()], expected_version=ANY)


async def log_of(store: EventStore, filter: Filter | None = None, *, backward: bool = False) -> list[tuple[str, int]]:
    return [(event.stream_id, event.version) async for event in store.read_all(filter=filter, backward=backward)]


# --- Crossing boundaries ---------------------------------------------------------------------------------------------


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


# --- Reading ---------------------------------------------------------------------------------------------------------


async def test_the_log_is_read_in_order_across_partitions_with_and_without_a_filter(store: EventStore) -> None:
    for number in range(4 * SIZE):
        await store.append(f"{'order' if number % 3 else 'stock'}-{number}", [event()], expected_version=NO_STREAM)
    in_order = [(f"{'order' if number % 3 else 'stock'}-{number}", 1) for number in range(4 * SIZE)]
    stock = [place for place in in_order if place[0].startswith("stock")]
    assert await log_of(store) == in_order
    assert await log_of(store, backward=True) == in_order[::-1]
    assert await log_of(store, Filter(stream_types=["stock"])) == stock
    assert await log_of(store, Filter(stream_types=["stock"]), backward=True) == stock[::-1]


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


# --- Making partitions -----------------------------------------------------------------------------------------------


async def test_a_new_store_has_a_partition_to_fill_and_a_whole_one_ahead(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    assert await bounds(connection) == [(1, 10), (11, 20)]


async def test_the_next_partition_is_made_in_the_middle_of_the_one_before_it(
    url: str, connection: psycopg.AsyncConnection
) -> None:
    async with open_store(url) as store:
        await fill(store, SIZE // 2)
    assert await bounds(connection) == [(1, 10), (11, 20)]
    async with open_store(url, migrate=False) as store:
        await fill(store, 1)
    assert await bounds(connection) == [(1, 10), (11, 20), (21, 30)]


async def test_a_closed_store_has_left_a_whole_partition_ahead(url: str, connection: psycopg.AsyncConnection) -> None:
    async with open_store(url) as store:
        await asyncio.gather(*(store.append(f"order-{n}", [event()], expected_version=ANY) for n in range(57)))
        head = await store.head()
    assert (await bounds(connection))[-1][1] >= head + SIZE


async def test_partitions_are_made_once_though_many_ask(store: EventStore, url: str, schema: sql.Identifier) -> None:
    async def ask() -> None:
        async with connected(url) as connection:
            for expected in range(0, 10 * SIZE, SIZE):
                await connection.execute(sql.SQL("SELECT {}.make_partitions(%s)").format(schema), [expected])

    await asyncio.gather(*(ask() for _ in range(8)))
    async with connected(url) as connection:
        await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        assert await bounds(connection) == [(first, first + SIZE - 1) for first in range(1, 11 * SIZE, SIZE)]


async def test_however_many_events_are_expected_the_partitions_made_are_bounded(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    for _ in range(2):
        await connection.execute("SELECT make_partitions(9000000000000000000)")
    assert len(await bounds(connection)) == 130


async def test_positions_drawn_in_vain_are_passed_over(store: EventStore, connection: psycopg.AsyncConnection) -> None:
    await connection.execute("SELECT setval('events_global_position_seq', 1000000)")
    # One position more, drawn by the try that found no partition.
    assert (await store.append("order-1", [event()], expected_version=NO_STREAM))[0].global_position == 1_000_002
    assert await bounds(connection) == [(1, 10), (11, 20), (1_000_002, 1_000_011), (1_000_012, 1_000_021)]


async def test_an_append_goes_on_while_partitions_are_made_and_the_other_way_round(
    store: EventStore, connection: psycopg.AsyncConnection, url: str, schema: sql.Identifier
) -> None:
    async with connection.transaction(), asyncio.timeout(4):
        await connection.execute("SELECT make_partitions(100)")
        await store.append("order-1", [event()], expected_version=NO_STREAM)
    async with connection.transaction(), connected(url) as other, asyncio.timeout(4):
        await store.bind(connection).append("order-1", [event()], expected_version=1)
        await other.execute(sql.SQL("SELECT {}.make_partitions(200)").format(schema))
    assert (await bounds(connection))[-1][1] >= 200


async def test_a_role_that_may_only_append_has_its_partitions_made(
    url: str, connection: psycopg.AsyncConnection, schema: sql.Identifier, role: str
) -> None:
    await open_store(url).migrate()
    for grant in (
        "GRANT USAGE ON SCHEMA {} TO visitor",
        "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {} TO visitor",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO visitor",
    ):
        await connection.execute(sql.SQL(grant).format(schema))
    async with open_store(f"{url}&user={role}".replace("postgres@", "")) as store:
        recorded = await store.append("order-1", [event() for _ in range(4 * SIZE)], expected_version=NO_STREAM)
        assert [event async for event in store.read_all()] == recorded


async def test_a_session_that_may_only_read_opens_a_store_that_lacks_partitions(
    url: str, connection: psycopg.AsyncConnection
) -> None:
    async with open_store(url) as store:
        await fill(store, 1)
    await connection.execute("SELECT setval('events_global_position_seq', 1000)")
    async with open_store(f"{url}&options=-c%20default_transaction_read_only=on") as store:
        assert await log_of(store) == [("filled-1", 1)]


# --- What must hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("appends_before", [0, 10], ids=["a first append", "an append by a kept plan"])
async def test_an_insert_has_its_lock_on_the_table_before_it_draws_a_position(
    url: str, connection: psycopg.AsyncConnection, appends_before: int
) -> None:
    async with open_store(url, pool_max=1) as store:
        await store.head()  # so that its session is there when a snapshot of all sessions is taken below
        await fill(store, appends_before)
        drawn = await rows(connection, "SELECT last_value, is_called FROM events_global_position_seq")
        async with connection.transaction():
            await connection.execute("LOCK TABLE ONLY events IN SHARE MODE")
            appending = asyncio.ensure_future(store.append("filled-1", [event()], expected_version=ANY))
            await until_blocked(connection)
            assert await rows(connection, "SELECT last_value, is_called FROM events_global_position_seq") == drawn
        await appending


async def test_every_event_has_its_key_and_every_key_its_event(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    for number in range(5):
        await store.append(f"order-{number}", [event() for _ in range(7)], expected_version=NO_STREAM)
    await store.truncate_stream("order-1", 4)
    await store.delete_stream("order-2", expected_version=ANY)
    await store.delete_stream("order-3", expected_version=ANY, erase=True)
    await store.append("order-1", [event()], expected_version=7)
    columns = "event_id, stream_id, version, created_at, global_position"
    for one, other in (("events", "event_keys"), ("event_keys", "events")):
        assert await rows(connection, f"SELECT {columns} FROM {one} EXCEPT SELECT {columns} FROM {other}") == []
    # 5 * 7 events, 3 truncated, 7 erased, 1 appended; and the guards of two deleted streams.
    assert await rows(connection, "SELECT count(*) FROM events") == [(5 * 7 - 3 - 7 + 1 + 2,)]


async def test_an_append_that_waited_for_a_stream_made_and_erased_at_once_finds_it_deleted(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    async with connection.transaction():
        await store.head()
        bound = store.bind(connection)
        await bound.append("order-1", [event()], expected_version=NO_STREAM)
        appending = asyncio.ensure_future(store.append("order-1", [event()], expected_version=NO_STREAM))
        await until_blocked(connection)
        await bound.delete_stream("order-1", expected_version=1, erase=True)
    with pytest.raises(StreamDeleted):
        await appending


async def test_an_append_that_waited_for_events_made_and_truncated_at_once_comes_after_them(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    async with connection.transaction():
        await store.head()
        bound = store.bind(connection)
        await bound.append("order-1", [event()], expected_version=NO_STREAM)
        appending = asyncio.ensure_future(store.append("order-1", [event()], expected_version=ANY))
        await until_blocked(connection)
        await bound.truncate_stream("order-1", 2)
    assert [event.version for event in await appending] == [2]


@pytest.mark.parametrize("statement", ["UPDATE {} SET version = 7", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["events", "event_keys", "events_from_1"])
async def test_events_and_keys_are_append_only_even_for_the_owner(
    store: EventStore, connection: psycopg.AsyncConnection, table: str, statement: str
) -> None:
    await fill(store, 1)
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        await connection.execute(statement.format(table).encode())


async def test_nobody_inserts_into_a_partition_without_naming_a_position(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    insert = (
        "INSERT INTO {} (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at) "
        "VALUES (gen_random_uuid(), 'order-1', 'order', 1, 'Ordered', '{{}}', '{{}}', now())"
    )
    with pytest.raises(psycopg.errors.NotNullViolation):
        await connection.execute(insert.format("events_from_1").encode())
    await connection.execute(insert.format("events").encode())
    assert await log_of(store) == [("order-1", 1)]


# --- Which layout ----------------------------------------------------------------------------------------------------


async def test_a_store_in_one_piece_is_not_opened_as_a_partitioned_one(postgres_url: str, url: str) -> None:
    async with open_store(postgres_url) as store:
        await fill(store, 1)
    with pytest.raises(SchemaError, match="open the store without partition_size"):
        await open_store(url).open()
    with pytest.raises(SchemaError, match="open the store without partition_size"):
        await open_store(url).migrate()
    async with open_store(postgres_url) as store:
        assert await log_of(store) == [("filled-1", 1)]


async def test_a_partitioned_store_is_opened_without_the_option_and_keeps_its_size(
    url: str, postgres_url: str, connection: psycopg.AsyncConnection
) -> None:
    async with open_store(url) as store:
        await fill(store, 1)
    for options in ({}, {"partition_size": 5_000}):
        async with open_store(postgres_url, **options) as store:
            await fill(store, SIZE)
            assert len(await log_of(store)) == await store.stream_version("filled-1")
    assert {last - first + 1 for first, last in await bounds(connection)} == {SIZE}


@pytest.mark.parametrize("size", ["0", "9", "many"])
async def test_a_size_that_makes_no_sense_is_refused_before_any_connection(postgres_url: str, size: str) -> None:
    with pytest.raises(InvalidUrl, match="partition_size"):
        open_store(f"{postgres_url}&partition_size={size}")


# --- Old partitions --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def detached(store: EventStore, connection: psycopg.AsyncConnection) -> list[RecordedEvent]:
    """The events of the first partition, after it was detached; the stream has 15 more."""
    await connection.execute("SELECT make_partitions(100)")
    events = [(await store.append("filled-1", [event()], expected_version=ANY))[0] for _ in range(25)]
    await connection.execute("ALTER TABLE events DETACH PARTITION events_from_1")
    return events[:SIZE]


@pytest.mark.usefixtures("detached")
async def test_the_events_of_a_detached_partition_are_gone_from_the_log_and_from_their_streams(
    store: EventStore,
) -> None:
    assert [event.version async for event in store.read_stream("filled-1", limit=3)] == [11, 12, 13]
    assert await log_of(store) == [("filled-1", version) for version in range(11, 26)]


async def test_versions_and_ids_of_a_detached_partition_stay_taken(
    store: EventStore, detached: list[RecordedEvent]
) -> None:
    assert await store.stream_version("filled-1") == 25
    with pytest.raises(WrongExpectedVersion):
        await store.append("filled-1", [event()], expected_version=3)
    again = NewEvent("Ordered", {"n": 1}, event_id=detached[3].event_id)
    with pytest.raises(DuplicateEventId):
        await store.append("filled-1", [again], expected_version=3)
    with pytest.raises(DuplicateEventId):
        await store.append_many([StreamWrite("filled-2", [again], ANY), StreamWrite("filled-3", [event()], ANY)])

"""What holds of a partitioned store as of one in one piece, which of the two a store is, and what detaching does."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    NO_STREAM,
    DuplicateEventId,
    EventStore,
    InvalidUrl,
    NewEvent,
    ProblemKind,
    RecordedEvent,
    SchemaError,
    StreamDeleted,
    StreamWrite,
    WrongExpectedVersion,
    open_store,
)
from tests.postgres.driving import event, until_blocked
from tests.postgres.partitioned.driving import SIZE, bounds, fill, log_of, rows, until_the_table_is_waited_for

pytestmark = pytest.mark.asyncio

# --- What must hold ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("appends_before", [0, 10], ids=["a first append", "an append by a kept plan"])
async def test_an_insert_has_its_lock_on_the_table_before_it_draws_a_position(
    url: str, connection: psycopg.AsyncConnection, appends_before: int
) -> None:
    async with open_store(url, pool_max=1) as store:
        await fill(store, appends_before)
        drawn = await rows(connection, "SELECT last_value, is_called FROM events_global_position_seq")
        async with connection.transaction():
            await connection.execute("LOCK TABLE ONLY events IN SHARE MODE")
            appending = asyncio.ensure_future(store.append("filled-1", [event()], expected_version=ANY))
            await until_the_table_is_waited_for(connection)
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


@pytest.mark.parametrize(
    ("lost", "kind"),
    [("event_keys", ProblemKind.NOT_IN_STREAM), ("events", ProblemKind.NOT_IN_LOG)],
    ids=["a key", "an event"],
)
async def test_verify_finds_a_key_without_its_event_and_an_event_without_its_key(
    store: EventStore, connection: psycopg.AsyncConnection, lost: str, kind: ProblemKind
) -> None:
    await store.append("order-1", [event() for _ in range(7)], expected_version=NO_STREAM)
    await store.append("order-2", [event()], expected_version=NO_STREAM)
    await store.delete_stream("order-2", expected_version=ANY)
    assert (await store.verify()).is_sound
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(f"DELETE FROM {lost} WHERE stream_id = 'order-1' AND version = 3".encode())
    verification = await store.verify()
    assert [(it.kind, it.stream_id, it.version) for it in verification.problems] == [(kind, "order-1", 3)]


async def test_an_append_that_waited_for_a_stream_made_and_erased_at_once_finds_it_deleted(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    async with connection.transaction():
        await store.head()  # its session is there when until_blocked takes a snapshot of all
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
        await store.head()  # its session is there when until_blocked takes a snapshot of all
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


# --- Which layout -----------------------------------------------------------------------------------------------------


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


# --- Old partitions ---------------------------------------------------------------------------------------------------


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

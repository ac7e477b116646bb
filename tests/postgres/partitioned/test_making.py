"""Partitions are made in time, whoever appends."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    open_store,
)
from eventstore.backend import Conflict
from tests.postgres.driving import connected, event
from tests.postgres.partitioned.driving import SIZE, bounds, fill, log_of, rows, until_the_table_is_waited_for
from tests.postgres.restoring.driving import backend_of, stream_of

pytestmark = pytest.mark.asyncio


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


async def test_a_restore_of_more_events_than_there_is_room_for_has_it_made_at_once(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    events = stream_of("order-1", range(1, 50 * SIZE + 1))
    positions = await backend_of(store).restore(events)
    assert not isinstance(positions, Conflict)
    assert len(await log_of(store)) == len(positions) == 50 * SIZE
    # Drawn in vain by the try that found no partition, and passed over when the next one was made.
    assert positions[0] > 2 * SIZE
    assert (await bounds(connection))[-1][1] >= positions[-1] + SIZE


async def test_restored_events_fill_partitions_as_appended_ones_do(
    url: str, connection: psycopg.AsyncConnection
) -> None:
    events = stream_of("order-1", range(1, SIZE // 2 + 2))
    async with open_store(url) as store:
        await backend_of(store).restore(events[:-1])
    assert await bounds(connection) == [(1, 10), (11, 20)]
    async with open_store(url) as store:
        await backend_of(store).restore(events[-1:])
    assert await bounds(connection) == [(1, 10), (11, 20), (21, 30)]


async def test_streams_are_restored_though_their_guards_have_filled_the_partitions(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    for number in range(5 * SIZE):
        assert await backend_of(store).restore_stream(f"order-{number}", 3) is None
    assert (await rows(connection, "SELECT last_value FROM events_global_position_seq"))[0][0] >= 5 * SIZE


async def test_partitions_are_made_once_though_many_ask(store: EventStore, url: str, schema: sql.Identifier) -> None:
    async def ask() -> None:
        async with connected(url) as connection:
            for expected in range(0, 10 * SIZE, SIZE):
                await connection.execute(sql.SQL("SELECT {}.make_partitions(%s)").format(schema), [expected])

    await asyncio.gather(*(ask() for _ in range(8)))
    async with connected(url) as connection:
        await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        assert await bounds(connection) == [(first, first + SIZE - 1) for first in range(1, 11 * SIZE, SIZE)]


async def test_whoever_waited_for_another_to_make_them_sees_them_whatever_the_servers_isolation(
    store: EventStore, url: str, connection: psycopg.AsyncConnection
) -> None:
    many = [event() for _ in range(5 * SIZE)]
    async with open_store(f"{url}&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read") as other:
        async with connection.transaction():
            await connection.execute("SELECT make_partitions(100)")
            appending = asyncio.ensure_future(other.append("order-1", many, expected_version=NO_STREAM))
            await until_the_table_is_waited_for(connection)
        assert len(await appending) == len(many)
    assert await bounds(connection) == [(first, first + SIZE - 1) for first in range(1, 12 * SIZE, SIZE)]


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
        "GRANT USAGE ON SCHEMA {} TO appender",
        "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {} TO appender",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO appender",
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

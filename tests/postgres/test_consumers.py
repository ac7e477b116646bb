"""Consumers of a Postgres store: over restarts of the server, and a rebuild that takes a table's place."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import ConsumerReplaced, EventStore, Filter, NewEvent, RecordedEvent, StoreTransaction, open_store
from eventstore_conformance.consumers import running
from tests.postgres_server import PostgresServer, default_binaries

pytestmark = pytest.mark.asyncio

ORDERS = Filter(stream_types=["order"])


async def run_sql(store: EventStore, statement: str) -> list[tuple[object, ...]]:
    async with store.transaction() as tx:
        cursor = await tx.connection.execute(statement)
        return list(await cursor.fetchall()) if cursor.description else []


async def insert(event: RecordedEvent, tx: StoreTransaction) -> None:
    await tx.connection.execute("INSERT INTO handled VALUES (%s)", [event.global_position])


async def append_some(store: EventStore, first: int, number: int) -> list[int]:
    return [
        (await store.append(f"order-{n}", [NewEvent("Placed", {"n": n})], expected_version=0))[0].global_position
        for n in range(first, first + number)
    ]


async def test_a_consumer_rides_through_restarts_of_the_server() -> None:
    with PostgresServer(default_binaries(), fsync=True) as server:
        async with open_store(server.url(), retry_timeout=30) as store:
            await run_sql(store, "CREATE TABLE handled (position BIGINT)")
            consumer = store.consumer("reader", insert, filter=ORDERS, partitions=3, batch_size=5, lease=1.0)
            async with running(consumer):
                expected = await append_some(store, 0, 30)
                server.restart()
                expected += await append_some(store, 100, 30)
                server.kill()
                server.start()
                expected += await append_some(store, 200, 30)
                async with asyncio.timeout(60):
                    await consumer.wait_until(expected[-1])
            rows = await run_sql(store, "SELECT position FROM handled ORDER BY position")
            assert [position for (position,) in rows] == expected


async def test_a_rebuilt_table_takes_the_place_of_the_live_one_at_one_instant(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        schema = postgres_url.rpartition("schema=")[2].replace("%20", " ")
        live, rebuilt = f'"{schema}".totals', f'"{schema}".totals_2'
        for table in (live, rebuilt):
            await run_sql(store, f"CREATE TABLE {table} (orders BIGINT)")
            await run_sql(store, f"INSERT INTO {table} VALUES (0)")

        async def count(event: RecordedEvent, tx: StoreTransaction) -> None:
            await tx.connection.execute(f"UPDATE {live} SET orders = orders + 1")

        async def count_again(event: RecordedEvent, tx: StoreTransaction) -> None:
            table = rebuilt if not switched.is_set() else live
            await tx.connection.execute(f"UPDATE {table} SET orders = orders + 1")

        async def switch(tx: StoreTransaction) -> None:
            await tx.connection.execute(f"ALTER TABLE {live} RENAME TO totals_old")
            await tx.connection.execute(f"ALTER TABLE {rebuilt} RENAME TO totals")
            switched.set()

        switched = asyncio.Event()
        await append_some(store, 0, 50)
        old = asyncio.create_task(store.consumer("totals", count, filter=ORDERS, lease=1.0).run())
        new = store.consumer(
            "totals 2", count_again, filter=ORDERS, batch_size=7, replaces="totals", on_switch=switch, lease=1.0
        )
        async with running(new):
            await append_some(store, 100, 50)
            await switched.wait()
            with pytest.raises(ConsumerReplaced):
                await old
            last = await append_some(store, 200, 10)
            await new.wait_until(last[-1])
        assert await run_sql(store, f"SELECT orders FROM {live}") == [(110,)]

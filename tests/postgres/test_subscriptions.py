"""How subscribers of a Postgres store hear of what is committed: told, or by looking; whatever becomes of the line."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from psycopg import sql

from eventstore import END, Filter, NewEvent, open_store
from eventstore_conformance.observing import take
from tests.postgres.driving import append, append_in_flight, connected, event, until_listeners_are, waiting
from tests.postgres_server import PostgresServer, default_binaries
from tests.proxy import Proxy

pytestmark = pytest.mark.asyncio

NEVER = 3600.0
"""A `poll_interval` beneath which nothing is found by looking."""


# --- Told by NOTIFY --------------------------------------------------------------------------------------------------


async def test_what_another_store_appends_is_told(postgres_url: str) -> None:
    async with open_store(postgres_url, poll_interval=NEVER) as store, open_store(postgres_url) as other:
        asked = await waiting(store.subscribe())
        await until_listeners_are(1, postgres_url)
        assert await append(other, "order-1") == await asked


async def test_what_another_store_commits_in_a_transaction_is_told(postgres_url: str) -> None:
    async with open_store(postgres_url, poll_interval=NEVER) as store, open_store(postgres_url) as other:
        asked = await waiting(store.subscribe())
        await until_listeners_are(1, postgres_url)
        async with other.transaction() as tx:
            (recorded,) = await tx.append("order-1", [event()], expected_version=0)
        assert await asked == recorded


async def test_commits_share_a_notification(postgres_url: str) -> None:
    async with open_store(postgres_url) as store, connected(postgres_url) as connection:
        notifications = store._backend._notifications  # type: ignore[attr-defined]
        await connection.execute(notifications._listen)
        for number in range(20):
            await asyncio.gather(*(append(store, f"order-{number}-{writer}") for writer in range(10)))
        told = [notification async for notification in connection.notifies(timeout=2, stop_after=1)]
        told += [notification async for notification in connection.notifies(timeout=0.2)]
        assert 1 <= len(told) < 100


async def test_stores_in_other_schemas_are_not_woken(postgres_url: str) -> None:
    schema = f"other_{uuid4().hex}"
    elsewhere = f"{postgres_url.partition('?')[0]}?schema={schema}"
    async with open_store(postgres_url) as store, open_store(elsewhere) as other, connected(elsewhere) as connection:
        await connection.execute(store._backend._notifications._listen)  # type: ignore[attr-defined]
        await append(other, "order-1")
        await append(store, "order-1")
        assert len([_ async for _ in connection.notifies(timeout=0.3)]) == 1
        await connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


# --- Found by looking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", [True, False])
async def test_what_a_bound_transaction_commits_is_found(postgres_url: str, listen: bool) -> None:
    async with open_store(postgres_url, poll_interval=0.05, listen=listen) as store:
        asked = await waiting(store.subscribe())
        async with append_in_flight(store, postgres_url, "order-1") as connection:
            await connection.execute("COMMIT")
        assert (await asked).stream_id == "order-1"


async def test_what_plain_sql_inserts_is_found(postgres_url: str) -> None:
    async with open_store(postgres_url, poll_interval=0.05) as store:
        asked = await waiting(store.subscribe(filter=Filter(stream_types=["order"])))
        async with connected(postgres_url) as connection:
            insert = sql.SQL(
                "INSERT INTO {}.events "
                "(event_id, stream_id, stream_type, version, event_type, data, metadata, created_at) "
                "VALUES (gen_random_uuid(), 'order-1', 'order', 1, 'Placed', '{{}}', '{{}}', now())"
            )
            await connection.execute(insert.format(sql.Identifier(postgres_url.rpartition("schema=")[2])))
        assert (await asked).event_type == "Placed"


async def test_a_rolled_back_hole_holds_no_subscriber_up(postgres_url: str) -> None:
    async with open_store(postgres_url, poll_interval=NEVER, settle_timeout=0) as store:
        asked = await waiting(store.subscribe())
        async with append_in_flight(store, postgres_url, "undone-1") as connection:
            recorded = await append(store, "order-1")
            assert not asked.done()
            await connection.execute("ROLLBACK")
        # Nobody tells of a rollback: it is looked for as long as an append is in flight, whatever the poll interval.
        assert await asked == recorded


async def test_a_hole_is_passed_beside_a_load_that_never_pauses(postgres_url: str) -> None:
    """What is waited for are the appends in flight at the hole, and not those that come after them."""
    async with open_store(postgres_url, poll_interval=NEVER) as store, open_store(postgres_url) as other:
        events = store.subscribe(filter=Filter(stream_types=["slow", "above"]))
        asked = await waiting(events)
        is_over = asyncio.Event()

        async def load(writer: int) -> None:
            count = 0
            while not is_over.is_set():
                await append(other, f"load-{writer}-{count}")
                count += 1

        async with asyncio.TaskGroup() as writers:
            for writer in range(8):
                writers.create_task(load(writer))
            async with append_in_flight(store, postgres_url, "slow-1") as connection:
                above = await append(other, "above-1")
                assert not asked.done()
                await connection.execute("COMMIT")
            received = [await asked, await anext(events)]
            is_over.set()
        assert [event.stream_id for event in received] == ["slow-1", "above-1"]
        assert received[1] == above


# --- Lines and servers -----------------------------------------------------------------------------------------------


async def test_a_listener_whose_line_is_cut_connects_again_and_looks(postgres_url: str) -> None:
    server, _, rest = postgres_url.partition("://")[2].partition("@")[2].partition("/")
    async with Proxy(int(server.rpartition(":")[2])) as proxy:
        through_proxy = postgres_url.replace(f"@{server}/{rest}", f"@127.0.0.1:{proxy.port}/{rest}")
        assert through_proxy != postgres_url
        async with open_store(through_proxy, poll_interval=NEVER) as store, open_store(postgres_url) as other:
            events = store.subscribe()
            for number in range(3):
                asked = await waiting(events)
                await until_listeners_are(1, postgres_url)
                proxy.cut()
                # It may be told to nobody, now that the line is cut.
                assert await append(other, f"order-{number}") == await asked


async def test_subscribers_ride_through_a_restart_of_the_server() -> None:
    with PostgresServer(default_binaries(), fsync=True) as server:
        async with open_store(server.url(), retry_timeout=30) as store, open_store(server.url()) as other:
            events, typed = store.subscribe(), store.subscribe(filter=Filter(event_types=["Quick"]))
            asked = [await waiting(events), await waiting(typed)]
            server.restart()
            recorded = await append(other, "order-1")
            assert await asyncio.gather(*asked) == [recorded, recorded]


# --- What they cost --------------------------------------------------------------------------------------------------


async def test_a_thousand_subscriptions_share_one_listener_and_the_pool(postgres_url: str) -> None:
    url = f"{postgres_url}&pool_max=4&application_name=thousand"
    async with open_store(url) as store:
        subscriptions = [store.subscribe(after=END) for _ in range(1_000)]
        await asyncio.gather(*(events.begin() for events in subscriptions))
        asked = [asyncio.create_task(take(events, 2)) for events in subscriptions]
        await until_listeners_are(1, postgres_url)
        recorded = await store.append("order-1", [NewEvent("First", {}), NewEvent("Second", {})], expected_version=0)
        assert all(received == recorded for received in await asyncio.gather(*asked))
        async with connected(postgres_url) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'thousand'"
            )
            assert (await cursor.fetchall())[0][0] <= 4 + 1
    await until_listeners_are(0, postgres_url)


async def test_a_listener_goes_when_nobody_waits_any_more(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        asked = await waiting(store.subscribe())
        await until_listeners_are(1, postgres_url)
        asked.cancel()
        await until_listeners_are(0, postgres_url)
        asked = await waiting(store.subscribe())
        assert await append(store, "order-1") == await asked

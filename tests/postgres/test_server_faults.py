"""What holds when the server restarts or crashes, on servers of the tests' own with their default durability."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from eventstore import ANY, NO_STREAM, EventStore, Filter, NewEvent, StoreUnavailable, open_store
from tests.postgres.driving import append, append_in_flight, connected, streams_seen
from tests.postgres_server import PostgresServer, default_binaries
from tests.proxy import Proxy

pytestmark = pytest.mark.asyncio


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    # The WAL is written out late, so that a crash shows what was never flushed.
    with PostgresServer(default_binaries(), fsync=True, settings={"wal_writer_delay": "10s"}) as server:
        yield server


async def test_a_store_rides_through_a_restart_of_the_server(server: PostgresServer) -> None:
    async with open_store(server.url(), retry_timeout=30) as store:
        await append(store, "before")
        server.restart()
        await append(store, "after")
        assert await streams_seen(store) == ["before", "after"]


async def test_acknowledged_events_survive_a_crash(server: PostgresServer) -> None:
    async with open_store(server.url(), retry_timeout=30) as store:
        for number in range(20):
            await append(store, f"stream-{number}")
        server.kill()
        server.start()
        assert await streams_seen(store) == [f"stream-{number}" for number in range(20)]


async def test_a_transaction_prepared_before_a_restart_counts_after_it(server: PostgresServer) -> None:
    async with open_store(server.url(), retry_timeout=30, settle_timeout=0) as store:
        async with append_in_flight(store, server.url(), "slow") as slow:
            await append(store, "above")
            assert await streams_seen(store) == []
            await slow.execute("PREPARE TRANSACTION 'slow'")
        server.restart()
        assert await streams_seen(store) == []
        assert await streams_seen(store) == []
        async with connected(server.url()) as connection:
            await connection.execute("COMMIT PREPARED 'slow'")
        assert await streams_seen(store) == ["slow", "above"]


async def test_a_bookmark_is_not_above_positions_that_are_drawn_again_after_a_crash(server: PostgresServer) -> None:
    """A sequence may fall back when a crash loses the log of rolled-back transactions: last_value is no bookmark."""
    nothing_matches = Filter(stream_types=["other"])
    async with open_store(server.url(), retry_timeout=30, settle_timeout=0) as store:
        last = await append(store, "before")
        drawn = await draw_and_roll_back(store, server)
        assert drawn > last.global_position
        assert await streams_seen(store, filter=nothing_matches) == []
        assert await store.head() == last.global_position, "the bookmark is not above a visible event"
        server.kill()
        server.start()
        await append(store, "after")
        assert await streams_seen(store, after=last.global_position) == ["after"]


async def draw_and_roll_back(store: EventStore, server: PostgresServer) -> int:
    """Draw positions in a transaction that rolls back; return the last one."""
    async with connected(server.url()) as connection:
        await connection.execute("BEGIN")
        events = [NewEvent("RolledBack", {}) for _ in range(100)]
        await store.bind(connection).append("rolled back", events, expected_version=NO_STREAM)
        await connection.execute("ROLLBACK")
        return await last_value(connection)


async def last_value(connection: psycopg.AsyncConnection) -> int:
    cursor = await connection.execute("SELECT last_value FROM events_global_position_seq")
    return int((await cursor.fetchall())[0][0])


# --- Connections that die --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected_version", [NO_STREAM, 0, ANY])
async def test_an_append_whose_reply_is_lost_returns_its_true_outcome(
    server: PostgresServer, expected_version: object
) -> None:
    async with Proxy(server.port) as proxy, open_store(proxied(server, proxy), pool_max=1) as store:
        await append(store, "warm up")
        proxy.lose_next_replies()
        event = NewEvent("Once", {"number": 1})
        (recorded,) = await store.append("orders", [event], expected_version=expected_version)  # type: ignore[arg-type]
        assert proxy.cuts == 1
        assert [found async for found in store.read_stream("orders")] == [recorded]
        assert await streams_seen(store) == ["warm up", "orders"]


async def test_an_append_that_never_reached_the_server_is_sent_again(server: PostgresServer) -> None:
    async with Proxy(server.port) as proxy, open_store(proxied(server, proxy), pool_max=1) as store:
        await append(store, "warm up")
        proxy.lose_next_requests()
        recorded = await append(store, "orders")
        assert proxy.cuts == 1
        assert [found async for found in store.read_stream("orders")] == [recorded]


async def test_without_time_to_retry_a_lost_append_says_that_its_outcome_is_unknown(server: PostgresServer) -> None:
    async with Proxy(server.port) as proxy:
        async with open_store(proxied(server, proxy), pool_max=1, retry_timeout=0) as store:
            await append(store, "warm up")
            proxy.lose_next_replies()
            event = NewEvent("Once", {})
            with pytest.raises(StoreUnavailable) as caught:
                await store.append("orders", [event], expected_version=NO_STREAM)
            assert caught.value.outcome_unknown
        async with open_store(server.url()) as store:
            # The caller's own retry gives the true outcome.
            (recorded,) = await store.append("orders", [event], expected_version=NO_STREAM)
            assert [found async for found in store.read_stream("orders")] == [recorded]


async def test_a_reader_goes_on_after_its_connection_was_lost(server: PostgresServer) -> None:
    async with Proxy(server.port) as proxy, open_store(proxied(server, proxy), pool_max=1) as store:
        await append(store, "orders")
        proxy.lose_next_replies()
        assert await streams_seen(store) == ["orders"]
        assert proxy.cuts == 1


def proxied(server: PostgresServer, proxy: Proxy) -> str:
    return server.url().replace(f":{server.port}/", f":{proxy.port}/")

"""Two servers, of which the second takes over; where commits wait for it, what was acknowledged is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from eventstore import NO_STREAM, NewEvent, StoreReadOnly, StoreUnavailable, open_store
from eventstore.backend import Conflict
from eventstore_postgres import PostgresBackend
from tests.faults.clients import clients_on
from tests.faults.servers import frozen
from tests.faults.standby import Standby, require_synchronous, until_true
from tests.postgres.driving import streams_seen
from tests.postgres.restoring.driving import opened, restored
from tests.postgres_server import PostgresServer, default_binaries
from tests.proxy import Proxy

pytestmark = pytest.mark.asyncio


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    with PostgresServer(default_binaries(), fsync=True) as server:
        yield server


@pytest_asyncio.fixture
async def standby(primary: PostgresServer) -> AsyncIterator[Standby]:
    with Standby(primary) as server:
        await require_synchronous(primary)
        yield server


def url_of_both(primary: PostgresServer, standby: PostgresServer) -> str:
    return f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"


async def fail_over(primary: PostgresServer, standby: Standby) -> None:
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.promote)


async def test_clients_with_both_hosts_ride_through_a_failover(
    primary: PostgresServer, standby: Standby, tmp_path: Path
) -> None:
    async with clients_on(url_of_both(primary, standby), tmp_path) as clients:
        await clients.until_acknowledged(10)
        await fail_over(primary, standby)
        await clients.until_acknowledged(10)
        (await clients.finish()).require_soundness()


async def test_a_standby_refuses_appends_and_is_left_for_the_new_primary(
    primary: PostgresServer, standby: Standby
) -> None:
    """One address, behind which the servers change: as a name, a virtual address or PgBouncer has it."""
    async with open_store(primary.url()) as store:
        await store.append("order-1", [NewEvent("Placed", {})], expected_version=NO_STREAM)
    async with Proxy(standby.port) as proxy, open_store(proxy.to(standby.url()), pool_min=4) as store:
        await until_true(standby, "SELECT count(*) = 4 FROM pg_stat_activity WHERE application_name = 'eventstore'")
        proxy.target_port = primary.port
        with pytest.raises(StoreReadOnly):
            await store.append("order-1", [NewEvent("Paid", {})], expected_version=1)
        await store.append("order-1", [NewEvent("Paid", {})], expected_version=1)


async def test_a_repeated_append_is_not_acknowledged_before_the_standby_has_it(
    primary: PostgresServer, standby: Standby
) -> None:
    """Cancelled while it waits for the standby, a commit is visible on the primary: finding it there is not enough."""
    event = NewEvent("Placed", {})
    async with open_store(primary.url(), call_timeout=1, retry_timeout=0) as store:
        await store.append("order-0", [NewEvent("Placed", {})], expected_version=NO_STREAM)
        with frozen(standby):
            append = asyncio.ensure_future(store.append("order-1", [event], expected_version=NO_STREAM))
            await until_true(primary, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            append.cancel()
            await asyncio.wait([append])
            assert await store.stream_version("order-1") == 1
            with pytest.raises(StoreUnavailable) as caught:
                await store.append("order-1", [event], expected_version=NO_STREAM)
            assert caught.value.outcome_unknown
        (recorded,) = await store.append("order-1", [event], expected_version=NO_STREAM)
    await fail_over(primary, standby)
    async with open_store(standby.url()) as store:
        assert [event async for event in store.read_stream("order-1")] == [recorded]
        assert await streams_seen(store) == ["order-0", "order-1"]


RESTORED = restored("order-1")


@pytest.mark.parametrize(
    "restore",
    [
        lambda backend: backend.restore([RESTORED]),
        lambda backend: backend.restore_stream("order-1", 1),
    ],
    ids=["restore", "restore_stream"],
)
async def test_what_is_restored_again_is_not_acknowledged_before_the_standby_has_it(
    primary: PostgresServer, standby: Standby, restore: Callable[[PostgresBackend], Coroutine[Any, Any, object]]
) -> None:
    async with opened(f"{primary.url()}?call_timeout=1") as backend:
        await backend.restore([restored("order-0")])
        with frozen(standby):
            restoring = asyncio.ensure_future(restore(backend))
            await until_true(primary, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            restoring.cancel()
            await asyncio.wait([restoring])
            assert await backend.stream_info("order-1") is not None
            with pytest.raises(StoreUnavailable) as caught:
                await restore(backend)
            assert caught.value.outcome_unknown
        found = await restore(backend)
    assert found is None or isinstance(found, Conflict)
    await fail_over(primary, standby)
    async with opened(standby.url()) as backend:
        info = await backend.stream_info("order-1")
        assert info is not None
        assert info.version == 1

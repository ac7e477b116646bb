"""Streams with no event left, restored at their version."""

from __future__ import annotations

import psycopg
import pytest

from eventstore import ANY, NO_STREAM, EventStore, StoreUnavailable, StreamDeleted, StreamInfo
from eventstore.backend import StreamState
from eventstore_postgres import PostgresBackend
from tests.postgres.driving import event
from tests.postgres.partitioned.driving import rows
from tests.postgres.restoring.driving import log_of, opened, port_of, stream_of
from tests.proxy import Fault, Moment, Proxy

pytestmark = pytest.mark.asyncio


async def test_a_restored_stream_has_its_version_and_no_event(store: EventStore, backend: PostgresBackend) -> None:
    assert await backend.restore_stream("order-1", 5) is None
    info = StreamInfo("order-1", "order", 5, 6, False)
    assert await store.stream_info("order-1") == info
    assert [it async for it in store.list_streams()] == [info]
    assert [it async for it in store.read_stream("order-1")] == []
    assert await log_of(backend) == []
    assert await store.head() == 0


async def test_a_restored_stream_is_appended_to_and_restored_into_after_its_version(
    store: EventStore, backend: PostgresBackend
) -> None:
    for number in (1, 2):
        await backend.restore_stream(f"order-{number}", 5)
    assert [it.version for it in await store.append("order-1", [event()], expected_version=5)] == [6]
    await backend.restore(stream_of("order-2", (6, 7)))
    assert [it.version async for it in store.read_stream("order-2")] == [6, 7]
    assert (await store.verify()).is_sound


async def test_a_stream_that_is_there_is_not_restored_and_its_state_returned(
    store: EventStore, backend: PostgresBackend
) -> None:
    for stream_id in ("has events", "truncated", "deleted", "erased"):
        await store.append(stream_id, [event(), event()], expected_version=NO_STREAM)
    await store.truncate_stream("truncated", 3)
    await store.delete_stream("deleted", expected_version=ANY)
    await store.delete_stream("erased", expected_version=ANY, erase=True)
    await store.delete_stream("never was", expected_version=ANY)
    await backend.restore_stream("restored", 2)
    before = [it async for it in store.list_streams(include_deleted=True)]
    for stream_id in ("has events", "truncated", "restored"):
        for version in (2, 5):
            assert await backend.restore_stream(stream_id, version) == StreamState(stream_id, 2, False)
    assert await backend.restore_stream("deleted", 2) == StreamState("deleted", 2, True)
    assert await backend.restore_stream("erased", 2) == StreamState("erased", 2, True)
    assert await backend.restore_stream("never was", 2) == StreamState("never was", 0, True)
    assert [it async for it in store.list_streams(include_deleted=True)] == before


async def test_a_restored_stream_can_be_truncated_and_deleted(store: EventStore, backend: PostgresBackend) -> None:
    await backend.restore_stream("order-1", 5)
    assert await store.truncate_stream("order-1", 6) == 0
    await store.delete_stream("order-1", expected_version=5)
    with pytest.raises(StreamDeleted):
        await store.append("order-1", [event()], expected_version=ANY)


async def test_a_restored_stream_leaves_neither_a_guard_nor_its_key(
    url: str, backend: PostgresBackend, connection: psycopg.AsyncConnection
) -> None:
    await backend.restore_stream("order-1", 5)
    for table in ("events", "event_keys") if "partition_size" in url else ("events",):
        assert await rows(connection, f"SELECT * FROM {table}") == []


async def test_a_restored_stream_whose_reply_is_lost_is_unknown_and_found_done_when_it_is_repeated(url: str) -> None:
    async with Proxy(port_of(url)) as proxy, opened(f"{proxy.to(url)}&pool_max=1") as backend:
        await backend.restore_stream("order-0", 5)
        proxy.plan(Moment.REPLY, Fault.CUT, of=b"COMMIT\0")
        with pytest.raises(StoreUnavailable) as caught:
            await backend.restore_stream("order-1", 5)
        assert caught.value.outcome_unknown
        assert await backend.restore_stream("order-1", 5) == StreamState("order-1", 5, False)

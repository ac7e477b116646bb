"""Streams with no event left, restored at their version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from eventstore import ANY, NO_STREAM, EventStore, StoreUnavailable, StreamDeleted, StreamInfo
from eventstore.backend import Conflict, StreamState
from eventstore_postgres import PostgresBackend
from tests.postgres.driving import event
from tests.postgres.partitioned.driving import rows
from tests.postgres.restoring.driving import emptied, log_of, opened, port_of, restored, stream_of
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


async def test_an_empty_stream_goes_further_and_keeps_its_snapshot(store: EventStore, backend: PostgresBackend) -> None:
    await emptied(store, "truncated", 2)
    await backend.restore_stream("restored", 2)
    for stream_id in ("truncated", "restored"):
        await store.save_snapshot(stream_id, 2, {"n": 2})
        for version in (3, 7, 7):
            assert await backend.restore_stream(stream_id, version) is None
            assert await store.stream_info(stream_id) == StreamInfo(stream_id, stream_id, version, version + 1, False)
        snapshot = await store.load_snapshot(stream_id)
        assert snapshot is not None
        assert snapshot.version == 2
        assert [it.version for it in await store.append(stream_id, [event()], expected_version=7)] == [8]
    assert await store.head() == (await log_of(backend))[-1].global_position
    assert (await store.verify()).is_sound


async def test_a_stream_that_went_further_takes_no_version_that_it_skipped(
    store: EventStore, backend: PostgresBackend
) -> None:
    await emptied(store, "order-1", 2)
    await backend.restore_stream("order-1", 7)
    for version in (1, 3, 7, 9):
        outcome = await backend.restore(stream_of("order-1", [version]))
        assert isinstance(outcome, Conflict)
        assert outcome.streams == (StreamState("order-1", 7, False),)
    assert await log_of(backend) == []


async def test_the_time_of_a_stream_that_goes_further_does_not_go_back(
    store: EventStore, backend: PostgresBackend
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for stream_id in ("order-1", "order-2"):
        await backend.restore([restored(stream_id, 1, tomorrow)])
        await store.truncate_stream(stream_id, 2)
        for version in (3, 7):
            assert await backend.restore_stream(stream_id, version) is None
    assert [it.created_at for it in await store.append("order-1", [event()], expected_version=7)] == [tomorrow]
    assert isinstance(await backend.restore([restored("order-2", 8)]), Conflict)
    assert not isinstance(await backend.restore([restored("order-2", 8, tomorrow)]), Conflict)


async def test_the_head_of_the_log_does_not_go_back_when_a_stream_goes_further(
    store: EventStore, backend: PostgresBackend
) -> None:
    await emptied(store, "order-1", 2)
    head = await store.head()
    await backend.restore_stream("order-1", 7)
    assert await store.head() == head


async def test_a_stream_that_is_there_is_not_restored_and_its_state_returned(
    store: EventStore, backend: PostgresBackend
) -> None:
    for stream_id in ("has events", "has an event", "truncated", "deleted", "erased"):
        await store.append(stream_id, [event(), event()], expected_version=NO_STREAM)
    await store.truncate_stream("has an event", 2)
    await store.truncate_stream("truncated", 3)
    await store.delete_stream("deleted", expected_version=ANY)
    await store.delete_stream("erased", expected_version=ANY, erase=True)
    await store.delete_stream("never was", expected_version=ANY)
    await backend.restore_stream("restored", 2)
    before = [it async for it in store.list_streams(include_deleted=True)]
    for stream_id in ("has events", "has an event"):
        for version in (1, 2, 5):
            assert await backend.restore_stream(stream_id, version) == StreamState(stream_id, 2, False)
    for stream_id in ("truncated", "restored"):
        assert await backend.restore_stream(stream_id, 1) == StreamState(stream_id, 2, False)
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
    url: str, store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection
) -> None:
    await emptied(store, "order-2", 2)
    for stream_id in ("order-1", "order-2"):
        await backend.restore_stream(stream_id, 5)
    for table in ("events", "event_keys") if "partition_size" in url else ("events",):
        assert await rows(connection, f"SELECT * FROM {table}") == []


@pytest.mark.parametrize("version", [0, 3], ids=["new", "empty"])
async def test_a_restored_stream_whose_reply_is_lost_is_unknown_and_found_done_when_it_is_repeated(
    url: str, store: EventStore, version: int
) -> None:
    await emptied(store, "order-1", version)
    async with Proxy(port_of(url)) as proxy, opened(f"{proxy.to(url)}&pool_max=1") as backend:
        await backend.restore_stream("order-0", 5)
        proxy.plan(Moment.REPLY, Fault.CUT, of=b"COMMIT\0")
        with pytest.raises(StoreUnavailable) as caught:
            await backend.restore_stream("order-1", 5)
        assert caught.value.outcome_unknown
        assert await store.stream_version("order-1") == 5
        assert await backend.restore_stream("order-1", 5) is None

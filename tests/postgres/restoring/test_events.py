"""Events that another store recorded, restored with their versions and times."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    Filter,
    StorageError,
    StoreUnavailable,
    open_store,
)
from eventstore.backend import Conflict, RestoredEvent, StreamState
from eventstore_postgres import PostgresBackend
from tests.postgres.driving import event, waiting
from tests.postgres.partitioned.driving import rows, until_the_table_is_waited_for
from tests.postgres.restoring.driving import THEN, backend_of, log_of, opened, port_of, restored, stream_of
from tests.proxy import Proxy

pytestmark = pytest.mark.asyncio

NEVER = 3600.0
"""A `poll_interval` beneath which nothing is found by looking."""


# --- What is stored ---------------------------------------------------------------------------------------------------


async def test_events_keep_what_they_were_recorded_with_and_the_order_of_the_list(backend: PostgresBackend) -> None:
    events = [restored(stream_id, version) for version in (1, 2, 3) for stream_id in ("order-2", "order-1", "cart")]
    positions = await backend.restore(events)
    assert [
        (it.global_position, it.event_id, it.stream_id, it.stream_type, it.version, it.created_at, it.data, it.metadata)
        for it in await log_of(backend)
    ] == [
        (position, it.event.event_id, it.stream_id, it.stream_type, it.version, it.created_at, {"n": 1}, {"by": "me"})
        for position, it in zip(list(positions), events, strict=True)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    "created_at",
    [
        THEN,
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
    ids=str,
)
async def test_a_time_is_kept_to_the_microsecond_whatever_the_session_shows(url: str, created_at: datetime) -> None:
    async with opened(f"{url}&options=-c%20TimeZone=Asia/Kathmandu%20-c%20DateStyle=German") as backend:
        await backend.restore([restored("order-1", created_at=created_at)])
        assert [it.created_at for it in await log_of(backend)] == [created_at]


async def test_a_stream_goes_on_where_it_ended_also_at_the_same_instant(backend: PostgresBackend) -> None:
    await backend.restore([restored("order-1", version) for version in (1, 2)])
    await backend.restore([restored("order-1", version) for version in (3, 4)])
    assert [it.version for it in await log_of(backend)] == [1, 2, 3, 4]


async def test_restoring_nothing_is_done_at_once(backend: PostgresBackend) -> None:
    assert await backend.restore([]) == ()


async def test_an_append_that_follows_gets_the_next_version_and_no_earlier_time(
    store: EventStore, backend: PostgresBackend
) -> None:
    in_a_year = datetime.now(UTC) + timedelta(days=365)
    await backend.restore([*stream_of("order-1", range(1, 4)), restored("order-2", created_at=in_a_year)])
    (now,) = await store.append("order-1", [event()], expected_version=3)
    (then,) = await store.append("order-2", [event()], expected_version=1)
    assert THEN < now.created_at < in_a_year == then.created_at
    assert (await store.verify()).is_sound


async def test_a_store_is_sound_after_all_that_can_be_restored(store: EventStore, backend: PostgresBackend) -> None:
    await backend.restore([*stream_of("order-1", range(1, 30)), *stream_of("order-2", range(1, 3))])
    await backend.restore_stream("order-3", 7)
    await backend.restore_stream("order-4", 7)
    await backend.restore(stream_of("order-3", range(8, 12)))
    await store.delete_stream("order-2", expected_version=2)
    await store.truncate_stream("order-1", 12)
    verification = await store.verify()
    assert verification.is_sound, str(verification)
    assert (verification.events, verification.streams) == (18 + 2 + 4, 4)


# --- What is refused --------------------------------------------------------------------------------------------------

TAKEN = restored("order-1", 2, THEN)


@pytest.mark.parametrize(
    ("refused", "state", "stored"),
    [
        (restored("order-1", 2), StreamState("order-1", 2, False), []),
        (restored("order-1", 4), StreamState("order-1", 2, False), []),
        (restored("order-1", 3, THEN - timedelta(microseconds=1)), StreamState("order-1", 2, False), []),
        (restored("order-9", 2), StreamState("order-9", 0, False), []),
        (restored("order-9", event_id=TAKEN.event.event_id), StreamState("order-9", 0, False), [TAKEN]),
        (restored("empty-1", 7), StreamState("empty-1", 7, False), []),
        (restored("gone-1", 1), StreamState("gone-1", 0, True), []),
        (restored("erased-1", 2), StreamState("erased-1", 1, True), []),
    ],
    ids=[
        "a version that is there",
        "a version after a gap",
        "a time before the last event's",
        "a new stream that does not begin with 1",
        "an id that is stored in another stream",
        "a version of a stream with no event left",
        "a deleted stream",
        "a stream that was erased",
    ],
)
async def test_one_event_that_does_not_follow_refuses_all(
    store: EventStore,
    backend: PostgresBackend,
    refused: RestoredEvent,
    state: StreamState,
    stored: list[RestoredEvent],
) -> None:
    await backend.restore([restored("order-1", 1), TAKEN, restored("erased-1")])
    await backend.restore_stream("empty-1", 7)
    await store.delete_stream("gone-1", expected_version=ANY)
    await store.delete_stream("erased-1", expected_version=ANY, erase=True)
    log = await log_of(backend)
    sound = [restored("zebra-1", 1), restored("ant-1", 1)]
    outcome = await backend.restore([sound[0], refused, sound[1]])
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("zebra-1", 0, False), state, StreamState("ant-1", 0, False))
    assert [it.event_id for it in outcome.stored] == [it.event.event_id for it in stored]
    assert await log_of(backend) == log


async def test_events_that_are_restored_already_are_found_in_the_order_of_the_list(backend: PostgresBackend) -> None:
    events = [restored(stream_id, version) for version in (1, 2) for stream_id in ("order-2", "order-1")]
    await backend.restore(events)
    outcome = await backend.restore(events)
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("order-2", 2, False), StreamState("order-1", 2, False))
    assert list(outcome.stored) == await log_of(backend)
    assert [it.event_id for it in outcome.stored] == [it.event.event_id for it in events]


async def test_a_violated_index_of_the_users_own_is_no_conflict(
    postgres_url: str, connection: psycopg.AsyncConnection
) -> None:
    async with opened(postgres_url) as backend:
        await connection.execute("CREATE UNIQUE INDEX one_of_each ON events (event_type)")
        with pytest.raises(StorageError, match="one_of_each"):
            await backend.restore([restored("order-1"), restored("order-2")])
        assert await log_of(backend) == []


# --- What readers are told --------------------------------------------------------------------------------------------


async def test_readers_get_restored_events_as_any_others(store: EventStore, backend: PostgresBackend) -> None:
    await store.append("cart-1", [event()], expected_version=NO_STREAM)
    positions = await backend.restore(stream_of("order-1", range(1, 4)))
    assert not isinstance(positions, Conflict)
    assert await store.head() == positions[-1]
    found = [it.global_position async for it in store.read_all(filter=Filter(stream_types=["order"]))]
    assert found == list(positions)
    assert [it.version async for it in store.read_stream("order-1", backward=True)] == [3, 2, 1]


async def test_whoever_waits_in_the_same_store_is_woken(url: str) -> None:
    async with open_store(url, poll_interval=NEVER, listen=False) as store, asyncio.timeout(20):
        asked = await waiting(store.subscribe())
        await backend_of(store).restore([restored("order-1")])
        assert (await asked).stream_id == "order-1"


async def test_other_stores_are_told(backend: PostgresBackend, connection: psycopg.AsyncConnection) -> None:
    await connection.execute(backend._notifications._listen)
    await backend.restore([restored("order-1")])
    assert len([_ async for _ in connection.notifies(timeout=10, stop_after=1)]) == 1


@pytest.mark.parametrize("calls_before", [0, 10], ids=["a first call", "a call by a kept plan"])
async def test_the_lock_that_readers_look_for_is_held_before_a_position_is_drawn(
    url: str, connection: psycopg.AsyncConnection, calls_before: int
) -> None:
    drawn = "SELECT last_value, is_called FROM events_global_position_seq"
    async with opened(f"{url}&pool_max=1") as backend:
        for version in range(1, calls_before + 1):
            await backend.restore([restored("order-1", version)])
        before = await rows(connection, drawn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE ONLY events IN SHARE MODE")
            restoring = asyncio.ensure_future(backend.restore([restored("order-1", calls_before + 1)]))
            await until_the_table_is_waited_for(connection)
            assert await rows(connection, drawn) == before
        await restoring


# --- Lost connections -------------------------------------------------------------------------------------------------


async def test_a_restore_whose_reply_is_lost_is_unknown_and_found_done_when_it_is_repeated(url: str) -> None:
    events = stream_of("order-1", range(1, 4))
    async with Proxy(port_of(url)) as proxy, opened(f"{proxy.to(url)}&pool_max=1") as backend:
        await backend.restore([restored("order-0")])
        proxy.lose_next_replies()
        with pytest.raises(StoreUnavailable) as caught:
            await backend.restore(events)
        assert caught.value.outcome_unknown
        outcome = await backend.restore(events)
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("order-1", 3, False),)
    assert [it.event_id for it in outcome.stored] == [it.event.event_id for it in events]

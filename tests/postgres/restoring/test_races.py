"""Restoring beside appends that are in flight: the unique index says who was first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    StreamInfo,
    StreamWrite,
    TransactionConflict,
    WrongExpectedVersion,
)
from eventstore.backend import Conflict, StreamState
from eventstore_postgres import PostgresBackend
from tests.postgres.driving import connected, event, until_blocked
from tests.postgres.partitioned.driving import rows
from tests.postgres.restoring.driving import emptied, log_of, opened, restored

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def connection(store: EventStore, connection: psycopg.AsyncConnection) -> psycopg.AsyncConnection:
    """A connection in a transaction of the caller's own."""
    await store.head()  # its session is there when until_blocked looks
    await connection.execute("BEGIN")
    return connection


# --- An append in flight, and then a restore --------------------------------------------------------------------------


async def test_a_restore_waits_for_an_append_in_flight_and_is_refused_when_it_commits(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection
) -> None:
    await store.bind(connection).append("order-1", [event()], expected_version=NO_STREAM)
    restoring = asyncio.ensure_future(backend.restore([restored("order-2"), restored("order-1")]))
    await until_blocked(connection)
    await connection.execute("COMMIT")
    outcome = await restoring
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("order-2", 0, False), StreamState("order-1", 1, False))
    assert await places_in(backend) == [("order-1", 1)]


async def test_a_restore_goes_on_when_the_append_that_it_waited_for_is_rolled_back(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection
) -> None:
    await store.bind(connection).append("order-1", [event()], expected_version=NO_STREAM)
    restoring = asyncio.ensure_future(backend.restore([restored("order-2"), restored("order-1")]))
    await until_blocked(connection)
    await connection.execute("ROLLBACK")
    assert not isinstance(await restoring, Conflict)
    assert await places_in(backend) == [("order-2", 1), ("order-1", 1)]


@pytest.mark.parametrize("removal", ["truncated", "erased"])
async def test_a_restore_that_waited_for_events_made_and_removed_at_once_does_not_take_their_versions(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection, removal: str
) -> None:
    bound = store.bind(connection)
    await bound.append("order-1", [event()], expected_version=NO_STREAM)
    restoring = asyncio.ensure_future(backend.restore([restored("order-1")]))
    await until_blocked(connection)
    if removal == "truncated":
        await bound.truncate_stream("order-1", 2)
    else:
        await bound.delete_stream("order-1", expected_version=1, erase=True)
    await connection.execute("COMMIT")
    outcome = await restoring
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("order-1", 1, removal == "erased"),)
    assert await log_of(backend) == []


async def test_the_streams_of_a_restore_are_written_in_one_order_for_all_writers(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection
) -> None:
    """Two that write to the same streams wait for each other in turn, whatever the order of their lists."""
    await store.bind(connection).append("order-1", [event()], expected_version=NO_STREAM)
    restoring = asyncio.ensure_future(backend.restore([restored("order-2"), restored("order-1")]))
    await until_blocked(connection)
    async with asyncio.timeout(10):
        # It would wait for the restore, had that written to this stream before it waits for the other.
        await store.append("order-2", [event()], expected_version=NO_STREAM)
    await connection.execute("ROLLBACK")
    assert isinstance(await restoring, Conflict)


# --- A restored stream and an append of its next event ----------------------------------------------------------------

IN_BOTH_STATES = pytest.mark.parametrize("version", [0, 3], ids=["new", "empty"])
"""The version of a stream that never had an event, and of one whose events were truncated."""


@IN_BOTH_STATES
@pytest.mark.parametrize("wanted", [4, 5])
async def test_a_stream_is_not_restored_when_an_append_in_flight_commits(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection, version: int, wanted: int
) -> None:
    await emptied(store, "order-1", version)
    await store.bind(connection).append("order-1", [event()], expected_version=version)
    restoring = asyncio.ensure_future(backend.restore_stream("order-1", wanted))
    await until_blocked(connection)
    await connection.execute("COMMIT")
    assert await restoring == StreamState("order-1", version + 1, False)
    assert await places_in(backend) == [("order-1", version + 1)]
    assert (await store.verify()).is_sound


@IN_BOTH_STATES
async def test_a_stream_is_restored_when_an_append_in_flight_is_rolled_back(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection, version: int
) -> None:
    await emptied(store, "order-1", version)
    await store.bind(connection).append("order-1", [event()], expected_version=version)
    restoring = asyncio.ensure_future(backend.restore_stream("order-1", 5))
    await until_blocked(connection)
    await connection.execute("ROLLBACK")
    assert await restoring is None
    assert await version_of(backend, "order-1") == 5


@IN_BOTH_STATES
async def test_a_stream_goes_further_than_events_made_and_removed_at_once(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection, version: int
) -> None:
    await emptied(store, "order-1", version)
    bound = store.bind(connection)
    await bound.append("order-1", [event()], expected_version=version)
    await bound.truncate_stream("order-1", version + 2)
    restoring = asyncio.ensure_future(backend.restore_stream("order-1", 5))
    await until_blocked(connection)
    await connection.execute("COMMIT")
    assert await restoring is None
    assert await store.stream_info("order-1") == StreamInfo("order-1", "order", 5, 6, False)


@asynccontextmanager
async def stream_being_restored(backend: PostgresBackend, connection: psycopg.AsyncConnection) -> AsyncIterator[None]:
    """Hold `restore_stream` of order-1 at version 5 where it has its guard removed and nothing committed."""
    await connection.execute("LOCK TABLE stream_lifecycle IN SHARE MODE")
    restoring = asyncio.ensure_future(backend.restore_stream("order-1", 5))
    await until_blocked(connection)
    yield
    await connection.execute("COMMIT")
    assert await restoring is None


async def until_a_transaction_is_waited_for(connection: psycopg.AsyncConnection) -> None:
    """Return when some session waits for another's transaction, and not for a lock on a table."""
    async with asyncio.timeout(10):
        while not await rows(connection, "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"):
            pass


@pytest.mark.parametrize("events", [1, 2], ids=["of one event", "of two"])
@pytest.mark.parametrize(("version", "expected_version"), [(0, NO_STREAM), (0, 0), (3, 3)])
async def test_an_append_waits_for_the_stream_being_restored_and_finds_its_version(
    store: EventStore,
    backend: PostgresBackend,
    connection: psycopg.AsyncConnection,
    version: int,
    expected_version: ExpectedVersion,
    events: int,
) -> None:
    await emptied(store, "order-1", version)
    async with stream_being_restored(backend, connection):
        batch = [event() for _ in range(events)]
        appending = asyncio.ensure_future(store.append("order-1", batch, expected_version=expected_version))
        await until_a_transaction_is_waited_for(connection)
    with pytest.raises(WrongExpectedVersion) as caught:
        await appending
    assert caught.value.actual == 5
    assert await log_of(backend) == []


@IN_BOTH_STATES
@pytest.mark.parametrize("streams", [1, 2], ids=["to one stream", "to two"])
async def test_an_append_at_any_version_waits_for_the_stream_being_restored_and_comes_after_it(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection, streams: int, version: int
) -> None:
    await emptied(store, "order-1", version)
    async with stream_being_restored(backend, connection):
        writes = [StreamWrite(f"order-{number}", [event()], ANY) for number in range(1, streams + 1)]
        appending: asyncio.Future[list[list[RecordedEvent]]] = asyncio.ensure_future(store.append_many(writes))
        await until_a_transaction_is_waited_for(connection)
    assert (await appending)[0][0].version == 6
    assert (await store.verify()).is_sound


@IN_BOTH_STATES
async def test_a_restore_waits_for_the_stream_being_restored_and_is_refused(
    store: EventStore, backend: PostgresBackend, connection: psycopg.AsyncConnection, version: int
) -> None:
    await emptied(store, "order-1", version)
    async with stream_being_restored(backend, connection):
        later = datetime.now(UTC) + timedelta(days=1)
        restoring = asyncio.ensure_future(backend.restore([restored("order-1", version + 1, later)]))
        await until_a_transaction_is_waited_for(connection)
    outcome = await restoring
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("order-1", 5, False),)


@IN_BOTH_STATES
async def test_an_old_view_does_not_append_to_a_stream_restored_since(
    store: EventStore, backend: PostgresBackend, postgres_url: str, version: int
) -> None:
    await emptied(store, "order-1", version)
    async with connected(postgres_url) as old_view:
        await old_view.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert await store.bind(old_view).stream_version("order-1") == version
        await backend.restore_stream("order-1", 5)
        with pytest.raises(TransactionConflict):
            await store.bind(old_view).append("order-1", [event()], expected_version=ANY)
        await old_view.execute("ROLLBACK")
    assert await version_of(backend, "order-1") == 5


async def test_a_stream_that_many_restore_ends_at_the_highest_version(url: str) -> None:
    async with opened(url) as one, opened(url) as other:
        wanted = [(backend, version) for backend in (one, other) for version in range(1, 6)]
        outcomes = await asyncio.gather(*(backend.restore_stream("order-1", version) for backend, version in wanted))
        assert await version_of(one, "order-1") == 5
    for (_, version), state in zip(wanted, outcomes, strict=True):
        assert state in [None, *(StreamState("order-1", higher, False) for higher in range(version + 1, 6))]


# --- What was looked at -----------------------------------------------------------------------------------------------


async def places_in(backend: PostgresBackend) -> list[tuple[str, int]]:
    return [(it.stream_id, it.version) for it in await log_of(backend)]


async def version_of(backend: PostgresBackend, stream_id: str) -> int:
    info = await backend.stream_info(stream_id)
    assert info is not None
    return info.version

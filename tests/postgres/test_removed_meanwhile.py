"""Appends that others overtook: appended to the stream, and removed all that again, so that no unique index tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    ExpectedVersion,
    StreamDeleted,
    TransactionConflict,
    WrongExpectedVersion,
)
from tests.postgres.driving import connected, event, until_blocked

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in a transaction of the caller's own."""
    async with connected(postgres_url) as connection:
        await connection.execute("BEGIN")
        yield connection


@pytest_asyncio.fixture
async def old_view(store: EventStore, postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in a transaction that sees the store as it is now, with one event in the stream `order-1`."""
    await store.append("order-1", [event()], expected_version=NO_STREAM)
    async with connected(postgres_url) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert await store.bind(connection).stream_version("order-1") == 1
        yield connection


async def log_of(store: EventStore) -> list[tuple[str, int]]:
    return [(event.stream_id, event.version) async for event in store.read_all()]


@pytest.mark.parametrize("expected_version", [NO_STREAM, 0, ANY])
async def test_an_append_that_waited_for_a_stream_made_and_erased_at_once_finds_it_deleted(
    store: EventStore, connection: psycopg.AsyncConnection, expected_version: ExpectedVersion
) -> None:
    bound = store.bind(connection)
    await bound.append("order-1", [event()], expected_version=NO_STREAM)
    appending = asyncio.ensure_future(store.append("order-1", [event()], expected_version=expected_version))
    await until_blocked(connection)
    await bound.delete_stream("order-1", expected_version=1, erase=True)
    await connection.execute("COMMIT")
    with pytest.raises(StreamDeleted):
        await appending
    assert await log_of(store) == []


async def test_an_append_that_waited_for_events_truncated_at_once_does_not_take_their_versions(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    bound = store.bind(connection)
    await bound.append("order-1", [event(), event()], expected_version=NO_STREAM)
    exact, anywhere = (
        asyncio.ensure_future(store.append("order-1", [event()], expected_version=expected))
        for expected in (NO_STREAM, ANY)
    )
    await until_blocked(connection)
    assert await bound.truncate_stream("order-1", 3) == 2
    await connection.execute("COMMIT")
    with pytest.raises(WrongExpectedVersion):
        await exact
    assert [recorded.version for recorded in await anywhere] == [3]
    assert await log_of(store) == [("order-1", 3)]


async def test_a_transaction_appends_after_what_it_truncated_itself(store: EventStore) -> None:
    async with store.transaction() as transaction:
        await transaction.append("order-1", [event(), event()], expected_version=NO_STREAM)
        await transaction.truncate_stream("order-1", 3)
        await transaction.append("order-1", [event()], expected_version=2)
    assert await log_of(store) == [("order-1", 3)]


@pytest.mark.parametrize("expected_version", [1, ANY])
async def test_an_old_view_does_not_take_versions_that_were_truncated_since(
    store: EventStore, old_view: psycopg.AsyncConnection, expected_version: ExpectedVersion
) -> None:
    await store.append("order-1", [event()], expected_version=1)
    await store.truncate_stream("order-1", 3)
    with pytest.raises(TransactionConflict):
        await store.bind(old_view).append("order-1", [event()], expected_version=expected_version)
    await old_view.execute("ROLLBACK")
    assert await log_of(store) == []
    assert await store.stream_version("order-1") == 2


async def test_an_old_view_does_not_append_to_a_stream_erased_since(
    store: EventStore, old_view: psycopg.AsyncConnection
) -> None:
    await store.append("order-1", [event()], expected_version=1)
    await store.delete_stream("order-1", expected_version=2, erase=True)
    with pytest.raises(TransactionConflict):
        await store.bind(old_view).append("order-1", [event()], expected_version=1)
    await old_view.execute("ROLLBACK")
    assert await log_of(store) == []


async def test_an_old_view_does_not_leave_a_snapshot_on_a_stream_deleted_since(
    store: EventStore, old_view: psycopg.AsyncConnection
) -> None:
    await store.delete_stream("order-1", expected_version=1)
    with pytest.raises(TransactionConflict):
        await store.bind(old_view).save_snapshot("order-1", 1, {"total": 1})
    await old_view.execute("ROLLBACK")
    assert await store.load_snapshot("order-1") is None


async def test_an_old_view_appends_where_nothing_happened_since(
    store: EventStore, old_view: psycopg.AsyncConnection
) -> None:
    await store.append("other-1", [event()], expected_version=NO_STREAM)
    bound = store.bind(old_view)
    await bound.truncate_stream("order-1", 2)
    await bound.append("order-1", [event()], expected_version=1)
    await bound.append("order-2", [event()], expected_version=NO_STREAM)
    await old_view.execute("COMMIT")
    assert await log_of(store) == [("other-1", 1), ("order-1", 2), ("order-2", 1)]
    assert [info.stream_id async for info in store.list_streams()] == ["order-1", "order-2", "other-1"]

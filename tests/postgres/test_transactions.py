"""Transactions of the store and of the caller, with the caller's own SQL in them."""

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
    InvalidArgument,
    StoreUnavailable,
    TransactionConflict,
    TransactionError,
    WrongExpectedVersion,
    open_store,
)
from tests.postgres.driving import event, until_blocked

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def connection(postgres_server: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection of the caller's own, as psycopg opens it: it begins a transaction by itself."""
    async with await psycopg.AsyncConnection.connect(postgres_server) as connection:
        yield connection
        await connection.rollback()


@pytest_asyncio.fixture
async def stock(postgres_server: str) -> AsyncIterator[None]:
    """A table of the caller's own."""
    async with await psycopg.AsyncConnection.connect(postgres_server, autocommit=True) as connection:
        await connection.execute("CREATE TABLE stock (item TEXT PRIMARY KEY)")
        yield
        await connection.execute("DROP TABLE stock")


async def items(server: str) -> list[str]:
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        return [item for (item,) in await (await connection.execute("SELECT item FROM stock")).fetchall()]


@pytest.mark.usefixtures("stock")
async def test_the_callers_sql_and_appends_commit_together(store: EventStore, postgres_server: str) -> None:
    async with store.transaction() as transaction:
        await transaction.append("order-1", [event()], expected_version=NO_STREAM)
        await transaction.connection.execute("INSERT INTO stock VALUES ('pen')")
    assert await store.stream_version("order-1") == 1
    assert await items(postgres_server) == ["pen"]


@pytest.mark.usefixtures("stock")
async def test_the_callers_failing_sql_passes_as_it_is_and_rolls_all_back(
    store: EventStore, postgres_server: str
) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with store.transaction() as transaction:
            await transaction.append("order-1", [event()], expected_version=NO_STREAM)
            await transaction.connection.execute("INSERT INTO stock VALUES ('pen'), ('pen')")
    assert await store.stream_version("order-1") == 0
    assert await items(postgres_server) == []


async def test_a_collision_inside_a_transaction_leaves_it_usable(store: EventStore) -> None:
    taken = event()
    await store.append("order-1", [taken], expected_version=NO_STREAM)
    async with store.transaction() as transaction:
        await transaction.append("order-2", [event()], expected_version=NO_STREAM)
        # The collision is with a row that the statement cannot see coming, so that the server itself reports it.
        with pytest.raises(Exception, match="already stored"):
            await transaction.append("order-3", [taken], expected_version=NO_STREAM)
        await transaction.append("order-2", [event()], expected_version=1)
    assert await store.stream_version("order-2") == 2


async def test_a_bound_append_commits_with_the_callers_transaction(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    bound = store.bind(connection)
    await bound.append("order-1", [event()], expected_version=NO_STREAM)
    assert await bound.stream_version("order-1") == 1
    assert await store.stream_version("order-1") == 0
    await connection.commit()
    assert await store.stream_version("order-1") == 1


async def test_a_bound_append_rolls_back_with_the_callers_transaction(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    await store.bind(connection).append("order-1", [event()], expected_version=NO_STREAM)
    await connection.rollback()
    assert await store.stream_version("order-1") == 0


async def test_a_refused_bound_append_leaves_the_callers_transaction_as_it_was(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    bound = store.bind(connection)
    await bound.append("order-1", [event()], expected_version=NO_STREAM)
    with pytest.raises(WrongExpectedVersion):
        await bound.append("order-1", [event()], expected_version=NO_STREAM)
    await connection.commit()
    assert await store.stream_version("order-1") == 1


async def test_a_connection_that_commits_each_statement_cannot_be_bound_to(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    await connection.set_autocommit(True)
    bound = store.bind(connection)
    with pytest.raises(TransactionError, match="begin a transaction"):
        await bound.append("order-1", [event()], expected_version=NO_STREAM)
    async with connection.transaction():
        await bound.append("order-1", [event()], expected_version=NO_STREAM)
    assert await store.stream_version("order-1") == 1


async def test_only_a_connection_of_the_driver_can_be_bound_to(store: EventStore) -> None:
    with pytest.raises(InvalidArgument):
        store.bind(object())


@pytest.mark.parametrize("expected_version", [ANY, 1])
async def test_a_snapshot_too_old_to_place_an_append_asks_for_another_run(
    store: EventStore, connection: psycopg.AsyncConnection, expected_version: object
) -> None:
    await store.append("order-1", [event()], expected_version=NO_STREAM)
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    bound = store.bind(connection)
    assert await bound.stream_version("order-1") == 1
    await store.append("order-1", [event()], expected_version=1)
    with pytest.raises(TransactionConflict):
        await bound.append("order-1", [event()], expected_version=expected_version)  # type: ignore[arg-type]


async def test_an_append_that_waited_for_a_delete_finds_the_stream_deleted(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    await store.append("order-1", [event()], expected_version=NO_STREAM)
    await store.bind(connection).delete_stream("order-1", expected_version=1)
    appending = asyncio.ensure_future(store.append("order-1", [event()], expected_version=ANY))
    await until_blocked(connection)
    await connection.commit()
    with pytest.raises(Exception, match="was deleted"):
        await appending
    assert await store.stream_version("order-1") == 1


async def test_a_delete_that_waited_for_an_append_sees_its_event(
    store: EventStore, connection: psycopg.AsyncConnection
) -> None:
    await store.append("order-1", [event()], expected_version=NO_STREAM)
    await store.bind(connection).append("order-1", [event()], expected_version=1)
    deleting = asyncio.ensure_future(store.delete_stream("order-1", expected_version=ANY))
    await until_blocked(connection)
    await connection.commit()
    await deleting
    assert await store.stream_version("order-1") == 2


async def test_a_pool_without_a_free_connection_says_so(postgres_url: str) -> None:
    async with open_store(postgres_url, pool_max=1, pool_timeout=0.05, retry_timeout=0) as store:
        async with store.transaction():
            with pytest.raises(StoreUnavailable, match="no connection") as caught:
                await store.stream_version("order-1")
        assert not caught.value.outcome_unknown


async def test_a_cancelled_append_is_stored_wholly_or_not_at_all(store: EventStore) -> None:
    """Cancelled at every step in turn, until one is quick enough to finish."""
    for steps in range(1, 200):
        events = [event() for _ in range(3)]
        stream_id = f"order-{steps}"
        appending = asyncio.ensure_future(store.append(stream_id, events, expected_version=NO_STREAM))
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = appending.done()
        appending.cancel()
        await asyncio.wait([appending])
        assert await store.stream_version(stream_id) in (0, 3)
        # Repeating it gives the outcome, whichever it was.
        assert len(await store.append(stream_id, events, expected_version=NO_STREAM)) == 3
        if finished:
            break

"""Limits that calls run into: a pool with nothing left, time-outs that the server keeps, a server that stays away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import ANY, NO_STREAM, EventStore, NewEvent, PoolExhausted, StoreUnavailable, StreamWrite, open_store
from tests.postgres.driving import append_in_flight, connected
from tests.postgres_server import PostgresServer
from tests.proxy import Proxy

pytestmark = pytest.mark.asyncio

PATIENCE = 20
"""Seconds after which a call hangs, for the tests."""


def placed() -> NewEvent:
    return NewEvent("Placed", {})


# --- The pool --------------------------------------------------------------------------------------------------------


async def test_a_pool_with_nothing_left_says_who_has_it_and_who_waits(durable_url: str) -> None:
    async with open_store(durable_url, pool_max=1, pool_timeout=0.3, retry_timeout=0) as store:
        async with store.transaction():
            calls = [asyncio.ensure_future(store.stream_version("order-1")) for _ in range(3)]
            await asyncio.wait(calls)
            error = calls[0].exception()
            assert isinstance(error, PoolExhausted)
            assert (error.size, error.in_use, error.waiting, error.timeout) == (1, 1, 2, 0.3)
            assert "1 of 1 are in use, and 2 other calls wait" in str(error)
            assert not error.outcome_unknown
        assert await store.stream_version("order-1") == 0


async def test_concurrent_appends_are_told_the_figures_too(durable_url: str) -> None:
    async with open_store(durable_url, pool_max=1, pool_timeout=0.3, retry_timeout=0) as store:

        async def append(number: int) -> None:
            await begun.wait()
            await store.append(f"order-{number}", [placed()], expected_version=NO_STREAM)

        # Tasks made in the transaction would belong to it.
        begun = asyncio.Event()
        tasks = [asyncio.ensure_future(append(number)) for number in range(10)]
        async with store.transaction():
            begun.set()
            await asyncio.wait(tasks)
        errors = [task.exception() for task in tasks]
        assert {type(error) for error in errors} == {PoolExhausted}
        assert {error.in_use for error in errors if isinstance(error, PoolExhausted)} == {1}


async def test_a_call_waits_for_a_connection_within_its_time_to_retry(durable_url: str) -> None:
    async with open_store(durable_url, pool_max=1, pool_timeout=0.1, retry_timeout=PATIENCE) as store:
        async with store.transaction():
            call = asyncio.ensure_future(store.stream_version("order-1"))
            # Longer than it waits at once.
            assert not (await asyncio.wait([call], timeout=0.3))[0]
        assert await call == 0


# --- Time-outs of the server -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture(params=["statement_timeout", "lock_timeout"])
async def impatient_url(durable_url: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A store used by a role with a time-out of its own."""
    role = f"impatient_{durable_url.rpartition('=')[2]}"
    async with connected(durable_url) as connection:
        for statement in ("CREATE ROLE {} SUPERUSER LOGIN", "ALTER ROLE {} SET {} = '100ms'"):
            names = [sql.Identifier(role), sql.Identifier(request.param)][: statement.count("{}")]
            await connection.execute(sql.SQL(statement).format(*names))
        yield durable_url.replace("//postgres@", f"//{role}@")
        await connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


async def test_an_append_that_runs_into_the_time_out_of_its_role_stores_nothing(
    durable_url: str, impatient_url: str
) -> None:
    async with open_store(durable_url) as writer, open_store(impatient_url, retry_timeout=0.3) as store:
        async with append_in_flight(writer, durable_url, "order-1"):
            batch = StreamWrite("order-1", [placed(), placed()], ANY)
            apart = StreamWrite("order-2", [placed()], ANY)
            outcomes = await asyncio.gather(
                store.append_many([apart, batch]),
                *(store.append("order-1", [placed()], expected_version=NO_STREAM) for _ in range(3)),
                return_exceptions=True,
            )
            assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
            assert {outcome.outcome_unknown for outcome in outcomes if isinstance(outcome, StoreUnavailable)} == {False}
        assert await store.stream_version("order-2") == 0
        assert await store.stream_version("order-1") == 1, "the writer's own"
        await store.append_many([apart, batch])


async def test_an_append_waits_out_another_transaction_within_its_time_to_retry(
    durable_url: str, impatient_url: str
) -> None:
    async with open_store(durable_url) as writer, open_store(impatient_url, retry_timeout=PATIENCE) as store:
        async with append_in_flight(writer, durable_url, "order-1") as slow:
            append = asyncio.ensure_future(store.append("order-1", [placed()], expected_version=NO_STREAM))
            # Longer than the server lets it wait at once.
            assert not (await asyncio.wait([append], timeout=0.4))[0]
            await slow.execute("ROLLBACK")
        (recorded,) = await append
        assert recorded.version == 1


# --- A server that stays away ----------------------------------------------------------------------------------------


async def test_while_the_server_is_away_calls_wait_and_then_say_so(
    durable_server: PostgresServer, durable_url: str
) -> None:
    async with asyncio.timeout(PATIENCE), open_store(durable_url, pool_timeout=0.2, retry_timeout=0.3) as store:
        await store.append("order-1", [placed()], expected_version=NO_STREAM)
        await asyncio.to_thread(durable_server.stop)
        try:
            outcomes = await asyncio.gather(*calls_of_every_kind(store), return_exceptions=True)
        finally:
            await asyncio.to_thread(durable_server.start)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    async with open_store(durable_url) as store:
        assert await store.stream_version("order-1") == 1


async def test_a_server_that_is_back_is_found_soon_however_long_it_was_away(durable_url: str, proxy: Proxy) -> None:
    there = proxy.target_port
    async with open_store(proxy.to(durable_url), pool_max=1, pool_timeout=PATIENCE, retry_timeout=PATIENCE) as store:
        await store.append("order-1", [placed()], expected_version=NO_STREAM)
        proxy.target_port = 1
        proxy.cut()
        call = asyncio.ensure_future(store.stream_version("order-1"))
        async with asyncio.timeout(PATIENCE):
            while proxy.refused < 5:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        proxy.target_port = there
        # Waits that double would have it wait for more than fifteen seconds.
        async with asyncio.timeout(PATIENCE / 2):
            assert await call == 1


def calls_of_every_kind(store: EventStore) -> list[asyncio.Future[object]]:
    calls = [
        store.append("order-1", [placed()], expected_version=ANY),
        store.append_many([StreamWrite("order-1", [placed()], ANY), StreamWrite("order-2", [placed()], ANY)]),
        store.read_stream("order-1").__anext__(),
        store.read_all().__anext__(),
        anext(store.subscribe()),
        store.head(),
        store.stream_info("order-1"),
        store.load_checkpoint("reader"),
        store.save_checkpoint("reader", 1, expected=0),
        store.save_snapshot("order-1", 1, {}),
        store.load_snapshot("order-1"),
        store.truncate_stream("order-1", 1),
        store.delete_stream("order-1", expected_version=ANY),
    ]
    return [asyncio.ensure_future(call) for call in calls]

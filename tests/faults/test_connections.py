"""Connections that are lost, or on which nothing comes any more, before a statement or after it: no call hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from eventstore import ANY, NO_STREAM, EventStore, NewEvent, RecordedEvent, StoreUnavailable, open_store
from tests.postgres.driving import streams_seen
from tests.proxy import Fault, Moment, Proxy

pytestmark = pytest.mark.asyncio

CALL_TIMEOUT = 0.3
MARK = b"MarkedForLoss"
PATIENCE = 20
"""Seconds after which a call hangs, for the tests."""

each_moment = pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
each_fault = pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())


@pytest.fixture
def url(durable_url: str, proxy: Proxy) -> str:
    """A store behind the proxy."""
    return proxy.to(durable_url)


def marked() -> NewEvent:
    return NewEvent(MARK.decode(), {})


def impatient(url: str, *, retry_timeout: float = 10) -> EventStore:
    return open_store(url, connect_timeout=2, call_timeout=CALL_TIMEOUT, pool_timeout=1, retry_timeout=retry_timeout)


async def until_it_works(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        with suppress(StoreUnavailable):
            await call()
            return


@each_fault
@each_moment
async def test_an_append_is_stored_once_and_told_so(url: str, proxy: Proxy, moment: Moment, fault: Fault) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:
        proxy.plan(moment, fault, of=MARK)
        (recorded,) = await store.append("order-1", [marked()], expected_version=NO_STREAM)
        assert proxy.cuts + proxy.silenced == 1
        assert [event async for event in store.read_all()] == [recorded]


@each_moment
async def test_without_time_to_retry_a_silent_append_is_unknown(url: str, proxy: Proxy, moment: Moment) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url, retry_timeout=0) as store:
        proxy.plan(moment, Fault.SILENCE, of=MARK)
        with pytest.raises(StoreUnavailable, match="not answered") as caught:
            await store.append("order-1", [marked()], expected_version=NO_STREAM)
        assert caught.value.outcome_unknown
        assert await store.stream_version("order-1") == (moment is Moment.REPLY)


async def test_concurrent_appends_that_get_no_answer_are_stored_once_each(url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:
        proxy.plan(Moment.REPLY, Fault.SILENCE, of=MARK)
        calls = (store.append(f"order-{n}", [marked()], expected_version=NO_STREAM) for n in range(20))
        recorded = [event for events in await asyncio.gather(*calls) for event in events]
        assert proxy.silenced == 1
        log = [event async for event in store.read_all()]
        assert log == sorted(recorded, key=lambda event: event.global_position)


async def test_one_silent_connection_is_enough_to_replace_them_all(url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url, retry_timeout=0.01) as store:
        await asyncio.gather(*(store.stream_version(f"order-{n}") for n in range(10)))
        proxy.silence()
        assert proxy.silenced > 2
        # One try finds it out, and there is time for one more.
        await store.append("order-1", [marked()], expected_version=NO_STREAM)


async def test_where_nothing_comes_through_every_call_ends(url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url, retry_timeout=0.1) as store:
        await store.append("order-1", [NewEvent("Placed", {})], expected_version=NO_STREAM)
        with proxy.unreachable():
            outcomes = await asyncio.gather(
                store.append("order-1", [NewEvent("Paid", {})], expected_version=1),
                store.stream_version("order-1"),
                streams_seen(store),
                store.load_checkpoint("reader"),
                store.save_checkpoint("reader", 1, expected=0),
                return_exceptions=True,
            )
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        # Connecting takes its time, too, and there are attempts under way that will not succeed any more.
        await until_it_works(lambda: store.append("order-1", [NewEvent("Paid", {})], expected_version=1))


async def test_a_subscription_goes_on_after_its_connections_go_silent(url: str, durable_url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store, open_store(durable_url) as other:
        events = store.subscribe()
        expected: list[RecordedEvent] = []
        for number in range(3):
            expected += await other.append("order-1", [NewEvent("Placed", {})], expected_version=number)
            assert await anext(events) == expected[-1]
            proxy.silence()


@each_moment
async def test_a_transaction_that_gets_no_answer_is_rolled_back(url: str, proxy: Proxy, moment: Moment) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:

        async def work() -> None:
            async with store.transaction() as tx:
                proxy.plan(moment, Fault.SILENCE, of=MARK)
                await tx.append("order-1", [marked()], expected_version=NO_STREAM)

        with pytest.raises(StoreUnavailable):
            await work()
        # The server does not know yet that its client has gone, and keeps the stream locked: this is another.
        await store.append("order-2", [NewEvent("Placed", {})], expected_version=NO_STREAM)


@each_moment
async def test_a_commit_that_gets_no_answer_is_unknown(url: str, proxy: Proxy, moment: Moment) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:

        async def work() -> None:
            async with store.transaction() as tx:
                await tx.append("order-1", [NewEvent("Placed", {})], expected_version=NO_STREAM)
                proxy.plan(moment, Fault.SILENCE, of=b"COMMIT")

        with pytest.raises(StoreUnavailable) as caught:
            await work()
        assert caught.value.outcome_unknown


async def test_what_left_the_transaction_is_raised_although_its_rollback_gets_no_answer(url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:

        async def work() -> None:
            async with store.transaction() as tx:
                await tx.append("order-1", [NewEvent("Placed", {})], expected_version=NO_STREAM)
                proxy.silence()
                raise LookupError

        with pytest.raises(LookupError):
            await work()


async def test_a_store_closes_while_its_notification_gets_no_answer(url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:
        proxy.plan(Moment.REQUEST, Fault.SILENCE, of=b"NOTIFY")
        await store.append("order-1", [NewEvent("Placed", {})], expected_version=NO_STREAM)
        await store.close()
        assert proxy.silenced == 1


@each_moment
async def test_opening_ends_although_the_look_at_the_schema_gets_no_answer(
    url: str, proxy: Proxy, moment: Moment
) -> None:
    proxy.plan(moment, Fault.SILENCE, of=b"schema_migrations")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreUnavailable, match="not answered"):
            await impatient(url).open()


async def test_slow_connections_are_slow_and_nothing_else(url: str, proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE), impatient(url) as store:
        proxy.delay = 0.005
        await asyncio.gather(*(store.append("order-1", [marked()], expected_version=ANY) for _ in range(10)))
        assert await store.stream_version("order-1") == 10

"""What the server's refusals mean to the caller."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    NewEvent,
    StorageError,
    StoreUnavailable,
    StreamWrite,
    TransactionConflict,
    open_store,
)
from tests.postgres.driving import append_in_flight

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
async def test_an_append_that_the_server_gave_up_was_not_stored(postgres_url: str, limit: str) -> None:
    impatient = f"{postgres_url}&options=-c%20{limit}=50"
    async with open_store(postgres_url) as writer, open_store(impatient, retry_timeout=0) as store:
        async with append_in_flight(writer, postgres_url, "order-1") as slow:
            with pytest.raises(StoreUnavailable, match="try again") as caught:
                await store.append("order-1", [NewEvent("Late", {})], expected_version=NO_STREAM)
            assert not caught.value.outcome_unknown
            await slow.execute("ROLLBACK")
        assert await store.stream_version("order-1") == 0


async def test_transactions_that_wait_for_each_other_are_to_be_run_again(postgres_url: str) -> None:
    async with open_store(postgres_url) as one, open_store(postgres_url) as other:
        both_begun = asyncio.Barrier(2)

        async def append_to(store: EventStore, first: str, second: str) -> None:
            async with store.transaction() as transaction:
                await transaction.append(first, [NewEvent("Crossed", {})], expected_version=NO_STREAM)
                await both_begun.wait()
                await transaction.append(second, [NewEvent("Crossed", {})], expected_version=NO_STREAM)

        outcomes = await asyncio.gather(
            append_to(one, "a-1", "b-1"), append_to(other, "b-1", "a-1"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes if outcome] == [TransactionConflict]
        assert [await one.stream_version(stream_id) for stream_id in ("a-1", "b-1")] == [1, 1]


async def test_a_table_that_is_gone_is_a_storage_error(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        async with store.transaction() as transaction:
            schema = postgres_url.rpartition("=")[2]
            await transaction.connection.execute(f'DROP TABLE "{schema}".snapshots'.encode())
        with pytest.raises(StorageError, match="snapshots"):
            await store.load_snapshot("order-1")


async def test_appends_to_the_same_streams_in_any_order_never_deadlock(postgres_url: str) -> None:
    # Nothing is tried again: a deadlock would be raised.
    async with open_store(postgres_url, retry_timeout=0, pool_max=8) as store:

        async def write(streams: list[str]) -> None:
            for _ in range(15):
                await store.append_many(
                    [StreamWrite(stream_id, [NewEvent("Crossed", {})], ANY) for stream_id in streams]
                )

        streams = [f"order-{number}" for number in range(6)]
        await asyncio.gather(*map(write, (streams, streams[::-1], streams[3:] + streams[:3], streams[::2])))
        assert await store.stream_version("order-0") == 60


async def test_the_log_has_the_streams_of_a_transaction_in_the_order_given(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        written = await store.append_many(
            [
                StreamWrite(stream_id, [NewEvent("Given", {}), NewEvent("Given", {})], ANY)
                for stream_id in ("b", "a", "c")
            ]
        )
        assert [event async for event in store.read_all()] == [event for events in written for event in events]
        assert [event.stream_id async for event in store.read_all()] == ["b", "b", "a", "a", "c", "c"]

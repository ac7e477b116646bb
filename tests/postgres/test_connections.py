"""Connections as their owners set them up, and what failures and cancellations leave of them."""

from __future__ import annotations

import asyncio
import traceback

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    Filter,
    InvalidUrl,
    SchemaError,
    StorageError,
    StoreUnavailable,
    TransactionError,
    open_store,
)
from tests.postgres.driving import connected, event, streams_seen

pytestmark = pytest.mark.asyncio


async def test_reading_and_appending_do_not_depend_on_how_a_bound_connection_is_set_up(
    store: EventStore, postgres_server: str
) -> None:
    async with await psycopg.AsyncConnection[DictRow].connect(postgres_server, row_factory=dict_row) as connection:
        await connection.execute("SET DateStyle TO 'German'; SET TimeZone TO 'Asia/Kathmandu'")
        bound = store.bind(connection)
        recorded = await bound.append("order-1", [event()], expected_version=NO_STREAM)
        assert [found async for found in bound.read_stream("order-1")] == recorded
        await connection.commit()
    assert [found async for found in store.read_stream("order-1")] == recorded


async def test_a_default_of_stricter_isolation_changes_nothing(postgres_url: str) -> None:
    strict = f"{postgres_url}&options=-c%20default_transaction_isolation=serializable"
    await asyncio.gather(*(open_store(strict).migrate() for _ in range(4)))
    async with open_store(strict) as store:
        recorded = await asyncio.gather(
            *(store.append("order-1", [event()], expected_version=ANY) for _ in range(20)),
        )
        assert sorted(found.version for (found,) in recorded) == list(range(1, 21))
        async with store.transaction() as transaction:
            cursor = await transaction.connection.execute("SHOW transaction_isolation")
            assert await cursor.fetchall() == [("read committed",)]


async def test_a_transaction_left_with_a_failed_statement_says_that_it_was_rolled_back(store: EventStore) -> None:
    with pytest.raises(TransactionError, match="roll it back"):
        async with store.transaction() as transaction:
            await transaction.append("order-1", [event()], expected_version=NO_STREAM)
            with pytest.raises(psycopg.errors.UndefinedTable):
                await transaction.connection.execute("SELECT FROM nowhere")
    assert await store.stream_version("order-1") == 0


async def test_calls_of_one_transaction_may_run_side_by_side(store: EventStore) -> None:
    async with store.transaction() as transaction:
        await asyncio.gather(
            *(transaction.append(f"order-{n}", [event()], expected_version=NO_STREAM) for n in range(10))
        )
    assert len(await streams_seen(store)) == 10


async def test_cancelled_filtered_reads_leave_connections_that_commit(postgres_url: str) -> None:
    wanted = Filter(event_types=["Ordered"])
    async with open_store(postgres_url, pool_max=2) as store, open_store(postgres_url) as other:
        await store.append("order-0", [event() for _ in range(20)], expected_version=NO_STREAM)
        for turns in range(120):
            reading = asyncio.ensure_future(streams_seen(store, filter=wanted))
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        for number in range(1, 5):
            await store.append(f"order-{number}", [event()], expected_version=NO_STREAM)
            assert await other.stream_version(f"order-{number}") == 1


async def test_a_filtered_reader_ends_while_others_write_on(postgres_url: str) -> None:
    async with open_store(postgres_url) as store, open_store(postgres_url, page_size=10_000) as reader:
        stopped = asyncio.Event()

        async def write_on() -> None:
            while not stopped.is_set():
                await store.append("order-1", [event()], expected_version=ANY)

        writing = asyncio.ensure_future(write_on())
        try:
            async with asyncio.timeout(60):
                for _ in range(10):
                    await streams_seen(reader, filter=Filter(event_types=["Ordered"]))
        finally:
            stopped.set()
            await writing


async def test_a_unique_index_of_the_users_own_is_a_storage_error(store: EventStore, postgres_url: str) -> None:
    schema = postgres_url.rpartition("=")[2]
    async with connected(postgres_url) as connection:
        await connection.execute(f'CREATE UNIQUE INDEX one_type ON "{schema}".events (event_type)'.encode())
    await store.append("order-1", [event()], expected_version=ANY)
    with pytest.raises(StorageError, match="one_type"):
        await store.append("order-2", [event()], expected_version=ANY)


async def test_a_database_of_another_encoding_is_refused(postgres_server: str) -> None:
    async with connected(postgres_server) as connection:
        await connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(SchemaError, match="LATIN1"):
                await open_store(postgres_server.rpartition("/")[0] + "/latin").open()
        finally:
            await connection.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:half%ssecret@host/db",
        "postgresql://ann:half@secret@host/db",
        "postgresql://ann:secret@host:x/",
    ],
)
async def test_no_part_of_a_password_shows_in_what_a_bad_url_raises(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        open_store(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value)).replace(url, "")


@pytest.mark.parametrize("host", ["x" * 300, "127.0.0.1:1"])
async def test_a_host_that_cannot_be_reached_is_store_unavailable(host: str) -> None:
    with pytest.raises(StoreUnavailable):
        await open_store(f"postgresql://{host}/db").open()


async def test_of_several_hosts_the_primary_is_wanted_unless_said_otherwise(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        port = connection.info.port
    several = postgres_url.replace(f"127.0.0.1:{port}", f"127.0.0.1:1,127.0.0.1:{port}")
    async with open_store(several) as store:
        await store.append("order-1", [event()], expected_version=NO_STREAM)
    read_only = several + "&options=-c%20default_transaction_read_only=on"
    with pytest.raises(StoreUnavailable, match="read-only"):
        await open_store(read_only).open()

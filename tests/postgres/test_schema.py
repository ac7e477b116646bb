"""Creating, checking and guarding the schema of a store in Postgres."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, quote

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import (
    ANY,
    EventStore,
    InvalidUrl,
    NewEvent,
    SchemaError,
    SchemaOutdated,
    SchemaTooNew,
    StoreReadOnly,
    StoreUnavailable,
    UnknownOption,
    open_store,
)
from eventstore_postgres.schema import SCHEMA_VERSION

pytestmark = pytest.mark.asyncio

EVENT = NewEvent("Tried", {})


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A superuser's connection whose search path is the store's schema."""
    server, _, query = postgres_url.partition("?")
    schema = parse_qs(query)["schema"][0]
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        await connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        yield connection


@pytest.fixture
def schema(postgres_url: str) -> sql.Identifier:
    return sql.Identifier(parse_qs(postgres_url.partition("?")[2])["schema"][0])


@pytest_asyncio.fixture
async def role(connection: psycopg.AsyncConnection) -> AsyncIterator[str]:
    """A role that owns nothing."""
    await connection.execute("CREATE ROLE visitor LOGIN")
    yield "visitor"
    await connection.execute("DROP OWNED BY visitor CASCADE; DROP ROLE visitor")


def as_role(url: str, role: str) -> str:
    return f"{url}&user={role}".replace("postgres@", "")


async def create(url: str) -> None:
    async with open_store(url) as store:
        await store.append("tried-1", [NewEvent("Tried", {})], expected_version=ANY)


# --- Creating --------------------------------------------------------------------------------------------------------


async def test_opening_a_store_creates_its_schema_once(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        assert await store.schema_version() == SCHEMA_VERSION
    async with open_store(postgres_url) as store:
        assert await store.schema_version() == SCHEMA_VERSION


async def test_many_processes_can_create_the_schema_at_the_same_time(postgres_url: str) -> None:
    await asyncio.gather(*(create(postgres_url) for _ in range(8)))


async def test_two_schemas_of_one_database_are_two_stores(
    postgres_url: str, connection: psycopg.AsyncConnection
) -> None:
    other_url = postgres_url + "%20other"
    async with open_store(postgres_url) as store, open_store(other_url) as other:
        await store.append("tried-1", [EVENT], expected_version=0)
        await other.append("tried-1", [EVENT], expected_version=0)
        assert [event.stream_id async for event in other.read_all()] == ["tried-1"]
    name = parse_qs(other_url.partition("?")[2])["schema"][0]
    await connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@pytest.mark.parametrize("name", ['quote"d', "percent%s", "semi;colon", "brace{schema}", "ünïcode"])
async def test_a_schema_name_is_plain_data(postgres_server: str, name: str) -> None:
    async with open_store(f"{postgres_server}?schema={quote(name)}") as store:
        recorded = await store.append("tried-1", [EVENT], expected_version=0)
        assert [event async for event in store.read_all()] == recorded
    async with await psycopg.AsyncConnection.connect(postgres_server, autocommit=True) as connection:
        await connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


async def test_a_store_that_may_not_migrate_names_the_version_that_it_needs(postgres_url: str) -> None:
    with pytest.raises(SchemaOutdated) as caught:
        await open_store(postgres_url, migrate=False).open()
    assert (caught.value.found, caught.value.needed) == (0, SCHEMA_VERSION)
    await open_store(postgres_url).migrate()
    async with open_store(f"{postgres_url}&migrate=false") as store:
        assert await store.head() == 0


# --- Checking --------------------------------------------------------------------------------------------------------


async def test_a_schema_newer_than_the_code_is_refused(postgres_url: str, connection: psycopg.AsyncConnection) -> None:
    await create(postgres_url)
    await connection.execute("INSERT INTO schema_migrations (version, name) VALUES (99, 'from the future')")
    with pytest.raises(SchemaTooNew) as caught:
        await open_store(postgres_url).open()
    assert (caught.value.found, caught.value.known) == (99, SCHEMA_VERSION)


@pytest.mark.parametrize("change", ["CACHE 10", "INCREMENT BY 2", "MAXVALUE 1000 CYCLE"])
async def test_a_sequence_that_does_not_draw_one_by_one_is_refused(
    postgres_url: str, connection: psycopg.AsyncConnection, change: str
) -> None:
    await create(postgres_url)
    await connection.execute(f"ALTER SEQUENCE events_global_position_seq {change}".encode())
    with pytest.raises(SchemaError, match="ALTER SEQUENCE"):
        await open_store(postgres_url).open()


async def test_a_sequence_behind_the_log_is_refused_with_the_line_that_mends_it(
    postgres_url: str, connection: psycopg.AsyncConnection
) -> None:
    for _ in range(3):
        await create(postgres_url)
    await connection.execute("SELECT setval('events_global_position_seq', 1)")
    with pytest.raises(SchemaError, match="SELECT setval") as caught:
        await open_store(postgres_url).open()
    await connection.execute(str(caught.value).partition("Run: ")[2].encode())
    await create(postgres_url)


async def test_an_unreachable_server_is_reported_at_once_without_the_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_store("postgresql://user:secret@127.0.0.1:1/nowhere").open()
    assert "secret" not in str(caught.value)


async def test_a_missing_database_is_reported(postgres_server: str) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await open_store(postgres_server.rpartition("/")[0] + "/nowhere").open()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?scheme=shop", UnknownOption),
        ("?pool_max=none", InvalidUrl),
        ("?pool_max=0", InvalidUrl),
        ("?migrate=perhaps", InvalidUrl),
        ("?schema=", InvalidUrl),
        ("?schema=" + "x" * 64, InvalidUrl),
        ("?schema=a&schema=b", InvalidUrl),
        ("?settle_timeout=-1", InvalidUrl),
        (":port/", InvalidUrl),
    ],
)
async def test_a_bad_url_is_refused_before_any_connection(query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_store(f"postgresql://user:secret@host{query}")


async def test_options_of_libpq_are_passed_on(postgres_url: str) -> None:
    async with open_store(f"{postgres_url}&application_name=shop") as store, store.transaction() as transaction:
        cursor = await transaction.connection.execute("SHOW application_name")
        assert await cursor.fetchall() == [("shop",)]


# --- Rights ----------------------------------------------------------------------------------------------------------


async def test_a_role_that_owns_nothing_but_its_schema_can_run_a_store(
    postgres_url: str, connection: psycopg.AsyncConnection, schema: sql.Identifier, role: str
) -> None:
    await connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION visitor").format(schema))
    async with open_store(as_role(postgres_url, role)) as store:
        recorded = await store.append("tried-1", [EVENT], expected_version=0)
        assert [event async for event in store.read_all()] == recorded
        assert await store.truncate_stream("tried-1", 2) == 1
        await store.delete_stream("tried-1", expected_version=1, erase=True)


async def test_a_role_that_may_only_read_reads_and_is_refused_to_write(
    postgres_url: str, connection: psycopg.AsyncConnection, schema: sql.Identifier, role: str
) -> None:
    await create(postgres_url)
    await connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO visitor").format(schema))
    await connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO visitor").format(schema))
    async with open_store(as_role(postgres_url, role)) as store:
        assert [event.stream_id async for event in store.read_all()] == ["tried-1"]
        assert await store.stream_version("tried-1") == 1
        with pytest.raises(StoreReadOnly):
            await store.append("tried-1", [NewEvent("Tried", {})], expected_version=1)
        with pytest.raises(StoreReadOnly):
            await store.delete_stream("tried-1", expected_version=1)
        assert await store.stream_version("tried-1") == 1


async def test_a_read_only_database_is_read_and_refuses_writes(postgres_url: str) -> None:
    await create(postgres_url)
    async with open_store(f"{postgres_url}&options=-c%20default_transaction_read_only=on") as store:
        assert [event.stream_id async for event in store.read_all()] == ["tried-1"]
        with pytest.raises(StoreReadOnly):
            await store.append("tried-1", [NewEvent("Tried", {})], expected_version=1)


@pytest.mark.parametrize("statement", ["UPDATE events SET data = '{}'", "DELETE FROM events", "TRUNCATE events"])
async def test_events_are_append_only_even_for_the_owner(
    postgres_url: str, connection: psycopg.AsyncConnection, statement: str
) -> None:
    await create(postgres_url)
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        await connection.execute(statement.encode())


async def test_a_removal_by_the_store_opens_no_door_for_the_rest_of_the_transaction(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        await store.append("tried-1", [EVENT, NewEvent("Tried", {})], expected_version=0)
        schema = sql.Identifier(parse_qs(postgres_url.partition("?")[2])["schema"][0])
        with pytest.raises(psycopg.errors.RestrictViolation):
            async with store.transaction() as transaction:
                await transaction.truncate_stream("tried-1", 2)
                await transaction.connection.execute(sql.SQL("DELETE FROM {}.events").format(schema))
        assert await store.stream_version("tried-1") == 2


# --- Leaving ---------------------------------------------------------------------------------------------------------


async def test_closing_twice_is_harmless_and_leaves_no_connection(
    postgres_url: str, connection: psycopg.AsyncConnection
) -> None:
    store = open_store(f"{postgres_url}&application_name=leaving")
    async with store:
        await store.head()
    await store.close()
    async with asyncio.timeout(10):
        while await sessions_of(connection, "leaving"):
            pass


async def test_a_store_closed_at_once_leaves_no_task(postgres_url: str) -> None:
    before = asyncio.all_tasks()
    store = open_store(postgres_url)
    await store.open()
    await store.close()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("steps", range(1, 12))
async def test_an_opening_that_is_cancelled_leaves_no_task(postgres_url: str, steps: int) -> None:
    await create(postgres_url)
    before = asyncio.all_tasks()
    opening = asyncio.ensure_future(open_store(postgres_url, pool_min=3).open())
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    assert asyncio.all_tasks() == before


async def test_a_cancelled_close_still_closes(postgres_url: str, connection: psycopg.AsyncConnection) -> None:
    store: EventStore = open_store(f"{postgres_url}&application_name=leaving")
    await store.open()
    await store.head()
    closing = asyncio.ensure_future(store.close())
    asyncio.get_running_loop().call_soon(closing.cancel)
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with asyncio.timeout(10):
        while await sessions_of(connection, "leaving"):
            pass


async def sessions_of(connection: psycopg.AsyncConnection, application: str) -> int:
    cursor = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [application]
    )
    return int((await cursor.fetchall())[0][0])


async def test_a_process_that_forgot_to_close_still_exits(postgres_url: str) -> None:
    # It leaves while the pool is still connecting, whose workers do not heed a cancellation then.
    script = (
        "import asyncio, sys, eventstore\n"
        "async def main():\n"
        "    store = eventstore.open_store(sys.argv[1], pool_min=5)\n"
        "    await store.open()\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, postgres_url)
    try:
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

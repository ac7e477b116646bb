"""Roles of Postgres with the rights that docs/postgres.md gives them, by the SQL that stands there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import (
    ANY,
    END,
    Capability,
    EventStore,
    Filter,
    NewEvent,
    RecordedEvent,
    StoreReadOnly,
    StreamWrite,
    open_store,
)
from tests.postgres.restoring.driving import backend_of, restored

pytestmark = pytest.mark.asyncio

PAGE = Path(__file__).parents[2] / "docs" / "postgres.md"
ROLES = ["shop_reader", "shop_writer", "shop_worker"]


def event() -> NewEvent:
    return NewEvent("Happened", {"n": 1})


@pytest_asyncio.fixture
async def owner(postgres_server: str) -> AsyncIterator[EventStore]:
    """The store of the page, with one event, and its roles."""
    async with await psycopg.AsyncConnection.connect(postgres_server, autocommit=True) as connection:
        try:
            async with open_store(f"{postgres_server}?schema=shop") as owner:
                await owner.append("order-1", [event()], expected_version=0)
                for statements in re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
                    await connection.execute(statements.encode())
                yield owner
        finally:
            await connection.execute("DROP SCHEMA IF EXISTS shop CASCADE")
            for role in map(sql.Identifier, ROLES):
                await connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
                await connection.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def open_as(owner: EventStore, postgres_server: str) -> Callable[[str], EventStore]:
    """Return a function that makes the store of a role."""
    base = postgres_server.replace("postgres@", "")
    return lambda role: open_store(f"{base}?schema=shop&user={role}", retry_timeout=0)


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def handle(event: RecordedEvent) -> None:
    """Do nothing."""


Write = Callable[[EventStore], Awaitable[object]]

APPENDS: dict[str, Write] = {
    "append": lambda store: store.append("order-2", [event()], expected_version=ANY),
    "append_many": lambda store: store.append_many([StreamWrite(f"many-{n}", [event()], ANY) for n in (1, 2)]),
    "transaction": lambda store: append_in_transaction(store),
    "restore": lambda store: backend_of(store).restore([restored("restored-1")]),
}
KEEPING: dict[str, Write] = {
    "save_snapshot": lambda store: store.save_snapshot("order-1", 1, {}),
    "delete_snapshots": lambda store: store.delete_snapshots("order-1"),
    "save_checkpoint": lambda store: store.save_checkpoint("reader", 1, expected=0),
    "consumer": lambda store: store.consumer("reader", handle).run_until_caught_up(),
}
REMOVING: dict[str, Write] = {
    "truncate_stream": lambda store: store.truncate_stream("order-1", 2),
    "delete_stream": lambda store: store.delete_stream("order-1", expected_version=ANY),
    "erase": lambda store: store.delete_stream("order-1", expected_version=ANY, erase=True),
    "restore_stream": lambda store: backend_of(store).restore_stream("restored-2", 5),
}


async def append_in_transaction(store: EventStore) -> None:
    async with store.transaction() as tx:
        await tx.append("order-3", [event()], expected_version=ANY)


async def check_reading(store: EventStore) -> None:
    (first,) = await all_of(store.read_stream("order-1"))
    assert (await all_of(store.read_all(filter=Filter(stream_types=["order"]))))[0] == first
    assert await store.head() >= first.global_position
    assert await anext(store.subscribe()) == first
    assert await anext(store.subscribe_stream("order-1")) == first
    assert await store.load_snapshot("order-1") is None
    assert await store.load_checkpoint("reader") == 0
    assert [info.stream_id for info in await all_of(store.list_streams(prefix="order-1"))] == ["order-1"]
    assert Capability.TRANSACTIONS in store.capabilities


async def check_refused(store: EventStore, owner: EventStore, writes: dict[str, Write]) -> None:
    log = await all_of(owner.read_all())
    for name, write in writes.items():
        with pytest.raises(StoreReadOnly, match="a role with the right"):
            await write(store)
            pytest.fail(f"{name} is allowed")
    assert await all_of(owner.read_all()) == log


@asynccontextmanager
async def following(store: EventStore, owner: EventStore) -> AsyncIterator[None]:
    """Check that a follower gets what is appended from now on."""
    subscription = store.subscribe(after=END)
    await subscription.begin()
    yield
    (recorded,) = await owner.append("order-9", [event()], expected_version=ANY)
    async for found in subscription:
        if found == recorded:
            return


async def test_a_reader_reads_and_follows_and_writes_nothing(
    owner: EventStore, open_as: Callable[[str], EventStore]
) -> None:
    async with open_as("shop_reader") as store:
        await check_reading(store)
        async with following(store, owner):
            await check_refused(store, owner, APPENDS | KEEPING | REMOVING)


async def test_a_writer_reads_and_appends_and_removes_nothing(
    owner: EventStore, open_as: Callable[[str], EventStore]
) -> None:
    async with open_as("shop_writer") as store:
        await check_reading(store)
        async with following(store, owner):
            for append in APPENDS.values():
                await append(store)
            await check_refused(store, owner, KEEPING | REMOVING)


async def test_a_worker_keeps_its_progress_and_writes_no_event(
    owner: EventStore, open_as: Callable[[str], EventStore]
) -> None:
    async with open_as("shop_worker") as store:
        await check_reading(store)
        async with following(store, owner):
            for keep in KEEPING.values():
                await keep(store)
            await check_refused(store, owner, APPENDS | REMOVING)


TAMPERING = [
    "UPDATE shop.events SET data = '{}'",
    "DELETE FROM shop.events",
    "TRUNCATE shop.events",
    "SET eventstore.removal = 'allowed'; DELETE FROM shop.events",
    "ALTER TABLE shop.events DISABLE TRIGGER ALL",
    "DROP TRIGGER events_are_append_only ON shop.events",
    "DROP TABLE shop.events CASCADE",
    "INSERT INTO shop.stream_lifecycle VALUES ('order-1', 'order', true, 1, 2, now(), 1)",
    "UPDATE shop.schema_migrations SET version = 99",
    "SELECT setval('shop.events_global_position_seq', 1)",
    "ALTER SEQUENCE shop.events_global_position_seq CACHE 10",
]


async def test_by_sql_of_its_own_no_role_changes_or_removes_events(owner: EventStore, postgres_server: str) -> None:
    log = await all_of(owner.read_all())
    base = postgres_server.replace("postgres@", "")
    for role in ROLES:
        async with await psycopg.AsyncConnection.connect(base, user=role, autocommit=True) as connection:
            for statement in TAMPERING:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(statement.encode())
                    pytest.fail(f"{role} may {statement}")
    assert await all_of(owner.read_all()) == log

"""`sqlite://`: a store of one's own, gone when it is closed."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from pathlib import Path

import pytest

from eventstore import ANY, Capability, SchemaOutdated, open_store
from eventstore_sqlite.schema import LATEST
from tests.sqlite.making import event, events, file_names, positions, versions

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_every_private_store_is_another(temporary: Path) -> None:
    async with open_store("sqlite://") as one, open_store("sqlite://") as two:
        await one.append("order-1", [event()], expected_version=0)
        await two.append("order-1", events(2), expected_version=0)
        assert await versions(one, "order-1") == [1]
        assert await versions(two, "order-1") == [1, 2]
    assert file_names(temporary) == []


async def test_it_claims_neither_to_last_nor_to_be_shared() -> None:
    in_a_file = open_store("sqlite:///app.db").capabilities
    assert in_a_file == set(Capability) - {Capability.CONCURRENT_CALLS}
    assert open_store("sqlite://").capabilities == in_a_file - {Capability.DURABLE, Capability.SHARED}


async def test_readers_see_nothing_of_an_open_transaction_and_wait_for_nothing() -> None:
    async with open_store("sqlite://") as store:
        await store.append("order-1", [event()], expected_version=0)
        async with store.transaction() as tx:
            await tx.append("order-1", events(1000), expected_version=1)
            assert await versions(store, "order-1") == [1]
            assert await store.head() == 1
        assert await store.head() == 1001


async def test_readers_and_writers_side_by_side_fail_nobody() -> None:
    async with open_store("sqlite://", busy_timeout=0.5, retry_timeout=0) as store:

        async def write(name: str) -> None:
            for _ in range(30):
                await store.append(name, [event()], expected_version=ANY)

        async def read() -> None:
            for _ in range(30):
                seen = await positions(store)
                assert seen == list(range(1, len(seen) + 1))

        await asyncio.gather(write("order-1"), write("order-2"), read(), read(), read(), read())
        assert await store.head() == 60


async def test_its_schema_can_be_asked_and_made_before_it_is_open(temporary: Path) -> None:
    store = open_store("sqlite://", migrate=False)
    assert await store.schema_version() == 0
    with pytest.raises(SchemaOutdated):
        await store.open()
    await store.migrate()
    assert await store.schema_version() == LATEST
    await store.close()
    assert file_names(temporary) == []


async def test_sqlites_own_database_in_memory_refuses_readers_while_a_transaction_is_open() -> None:
    """Why a private store is a file: when this fails, look again."""
    writer, reader = (
        sqlite3.connect("file:/eventstore-test?vfs=memdb", uri=True, isolation_level=None, timeout=0) for _ in range(2)
    )
    writer.execute("CREATE TABLE numbers (number)")
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        reader.execute("SELECT * FROM numbers")
    writer.close()
    reader.close()

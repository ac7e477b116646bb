"""Creating, upgrading and refusing schemas."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from eventstore import ANY, EventStore, SchemaError, SchemaOutdated, SchemaTooNew, open_store
from eventstore_sqlite.schema import LATEST, MIGRATIONS, Migration
from tests.sqlite.making import event, file_names, finished, start_python, versions

pytestmark = pytest.mark.asyncio


async def test_without_migrate_a_missing_file_is_outdated_and_stays_missing(tmp_path: Path, url: str) -> None:
    store = open_store(url, migrate=False)
    assert await store.schema_version() == 0
    with pytest.raises(SchemaOutdated) as caught:
        await store.open()
    assert (caught.value.found, caught.value.needed) == (0, LATEST)
    assert file_names(tmp_path) == []


async def test_migrate_works_before_open_and_after_a_refused_open(url: str) -> None:
    store = open_store(url, migrate=False)
    with pytest.raises(SchemaOutdated):
        await store.open()
    await store.migrate()
    await store.migrate()
    assert await store.schema_version() == LATEST
    async with open_store(url, migrate=False) as store:
        await store.append("order-1", [event()], expected_version=ANY)


async def test_the_schema_of_an_open_store_can_be_asked_and_migrated(store: EventStore) -> None:
    await store.migrate()
    assert await store.schema_version() == LATEST


@pytest.mark.parametrize("migrate", [True, False])
async def test_a_newer_schema_is_refused_and_left_alone(path: Path, url: str, migrate: bool) -> None:
    async with open_store(url):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (99, 'future', 0)")
    connection.close()
    with pytest.raises(SchemaTooNew) as caught:
        await open_store(url, migrate=migrate).open()
    assert (caught.value.found, caught.value.known) == (99, LATEST)


async def test_somebody_elses_version_table_is_refused(path: Path, url: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE schema_migrations (version TEXT)")
        connection.execute("INSERT INTO schema_migrations VALUES ('20240101')")
    connection.close()
    with pytest.raises(SchemaError, match="a file of its own"):
        await open_store(url).open()


async def test_an_upgrade_that_fails_leaves_the_schema_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
    broken = Migration(LATEST + 1, "broken", "CREATE TABLE half (done);\nCREATE TABLE events (again);\n")
    monkeypatch.setattr("eventstore_sqlite.schema.MIGRATIONS", (*MIGRATIONS, broken))
    monkeypatch.setattr("eventstore_sqlite.schema.LATEST", broken.version)
    with pytest.raises(SchemaError):
        await open_store(url).open()
    monkeypatch.undo()
    async with open_store(url) as store:
        assert await store.schema_version() == LATEST
        assert await versions(store, "order-1") == [1]
        async with store.transaction() as tx:
            assert not list(await tx.connection.execute_fetchall("SELECT 1 FROM sqlite_master WHERE name = 'half'"))


async def test_an_older_schema_is_upgraded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
    newer = Migration(LATEST + 1, "newer", "-- A comment; with a semicolon.\nCREATE TABLE newer (column TEXT);\n")
    monkeypatch.setattr("eventstore_sqlite.schema.MIGRATIONS", (*MIGRATIONS, newer))
    monkeypatch.setattr("eventstore_sqlite.schema.LATEST", newer.version)
    with pytest.raises(SchemaOutdated):
        await open_store(url, migrate=False).open()
    async with open_store(url) as store:
        assert await store.schema_version() == newer.version
        assert await versions(store, "order-1") == [1]


async def test_the_numbers_of_the_migrations_have_no_gap() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, LATEST + 1))


APPEND_ONCE = """
import asyncio, sys
import eventstore

async def main():
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with eventstore.open_store(sys.argv[1]) as store:
        await store.append("order-1", [eventstore.NewEvent("Counted", {})], expected_version=eventstore.ANY)

asyncio.run(main())
"""


async def test_many_processes_may_create_the_same_file_at_once(url: str) -> None:
    processes = [await start_python(APPEND_ONCE, url) for _ in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
    await asyncio.gather(*map(finished, processes))
    async with open_store(url) as store:
        assert await versions(store, "order-1") == list(range(1, 9))

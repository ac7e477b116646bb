"""Files that are missing, foreign, broken, full or read-only."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosqlite
import pytest

from eventstore import ANY, EventStore, SchemaError, StorageError, StoreReadOnly, StoreUnavailable, open_store
from eventstore_sqlite import open_backend
from tests.sqlite.making import content_of, event, events, overwrite, run_python, versions

pytestmark = pytest.mark.asyncio


async def pragma(store: EventStore, name: str) -> object:
    async with store.transaction() as tx:
        ((value,),) = await tx.connection.execute_fetchall(f"PRAGMA {name}")
    return value


@pytest.mark.parametrize(("synchronous", "level"), [("off", 0), ("normal", 1), ("full", 2)])
async def test_the_log_is_written_ahead_and_synced_as_asked(url: str, synchronous: str, level: int) -> None:
    async with open_store(url, synchronous=synchronous) as store:
        assert await pragma(store, "journal_mode") == "wal"
        assert await pragma(store, "synchronous") == level


async def test_commits_are_synced_by_default(store: EventStore) -> None:
    assert await pragma(store, "synchronous") == 2


async def test_a_copy_that_lost_its_write_ahead_mode_gets_it_back(tmp_path: Path, store: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=ANY)
    async with aiosqlite.connect(tmp_path / "events.db") as connection:
        await connection.execute("VACUUM INTO ?", [str(tmp_path / "copy.db")])
    async with open_store(f"sqlite:///{tmp_path}/copy.db") as copy:
        assert await pragma(copy, "journal_mode") == "wal"
        assert await versions(copy, "order-1") == [1]


# --- What cannot be opened -------------------------------------------------------------------------------------------


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"no directory '.*nowhere'"):
        await open_store(f"sqlite:///{tmp_path}/nowhere/events.db").open()


async def test_a_directory_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is a directory"):
        await open_store(f"sqlite:///{tmp_path}").open()


@pytest.mark.parametrize("content", [b"Dear diary, " * 100, b"\0" * 4096])
async def test_a_file_of_something_else_is_no_store_and_is_left_alone(path: Path, url: str, content: bytes) -> None:
    overwrite(path, content)
    with pytest.raises(StorageError, match="is no database"):
        await open_store(url).open()
    assert content_of(path) == content


async def test_a_corrupt_file_is_a_storage_error(path: Path, url: str) -> None:
    async with open_store(url) as store:
        await store.append("order-1", events(2000), expected_version=ANY)
    size = len(content_of(path))
    overwrite(path, content_of(path)[: 3 * 4096] + b"\xff" * (size - 3 * 4096))
    with pytest.raises(StorageError, match="is corrupt"):
        async with open_store(url) as store:
            assert await versions(store, "order-1")


async def test_tables_of_another_application_may_live_in_the_file(path: Path, url: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
        assert await pragma(store, "user_version") == 7


@pytest.mark.parametrize("table", ["events (id INTEGER)", "schema_migrations (id INTEGER)"])
async def test_tables_of_another_application_in_the_way_are_refused(path: Path, url: str, table: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE {table}")
    connection.close()
    with pytest.raises(SchemaError, match="a file of its own"):
        await open_store(url).open()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    connection.close()


async def test_a_sqlite_that_is_too_old_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(StorageError, match=r"SQLite 3\.38 or newer is needed"):
        await open_store(url).open()


async def test_a_backend_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    backend = open_backend(f"sqlite:///{tmp_path}/later/events.db")
    with pytest.raises(StoreUnavailable):
        await backend.open()
    overwrite(tmp_path / "later" / "other", b"")
    await backend.open()
    assert await backend.head() == 0
    await backend.close()


# --- What cannot be written ------------------------------------------------------------------------------------------


async def test_a_full_disk_writes_nothing_and_goes_on_when_there_is_room(store: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=ANY)
    pages = await pragma(store, "page_count")
    await pragma(store, f"max_page_count = {pages}")
    with pytest.raises(StorageError, match="is full"):
        await store.append("order-1", events(1000), expected_version=ANY)
    assert await versions(store, "order-1") == [1]
    await pragma(store, "max_page_count = 100000")
    await store.append("order-1", events(1000), expected_version=1)


async def test_a_full_disk_in_a_transaction_rolls_all_of_it_back(store: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=ANY)
    pages = await pragma(store, "page_count")
    await pragma(store, f"max_page_count = {pages}")
    with pytest.raises(StorageError, match="is full"):
        async with store.transaction() as tx:
            await tx.append("order-1", [event()], expected_version=1)
            await tx.append("order-2", events(1000), expected_version=0)
    assert await versions(store, "order-1") == [1]
    await pragma(store, "max_page_count = 100000")
    await store.append("order-2", events(1000), expected_version=0)


# Runs as a user who may not write, whoever runs the tests: the superuser may write everywhere.
AS_ANOTHER_USER = """
import asyncio, os, sys
import aiosqlite, eventstore, eventstore_sqlite, encodings.idna

async def main():
    try:
        async with eventstore.open_store(sys.argv[1], retry_timeout=0) as store:
            print("read", [event.version async for event in store.read_stream("order-1")], end=", ")
            await store.append("order-1", [eventstore.NewEvent("Counted", {})], expected_version=eventstore.ANY)
            print("wrote")
    except eventstore.EventStoreError as error:
        print(type(error).__name__, error)

# That user may not read where Python is installed: what is imported when first needed is imported now.
eventstore.open_store("sqlite://")
if os.getuid() == 0:
    os.setuid(65534)
asyncio.run(main())
"""


@pytest.fixture
def public_path() -> Iterator[Path]:
    """Where another user can read: pytest keeps its folders private."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "events.db")
        Path(folder).chmod(0o755)


@contextmanager
def permissions(path: Path, *, file: int, directory: int) -> Iterator[None]:
    for part in path.parent.iterdir():
        part.chmod(file)
    path.parent.chmod(directory)
    yield
    path.parent.chmod(0o755)


async def test_a_read_only_file_is_read_and_not_written(public_path: Path) -> None:
    url = f"sqlite:///{public_path}"
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
    with permissions(public_path, file=0o444, directory=0o777):
        output = await run_python(AS_ANOTHER_USER, url)
    assert output.startswith("read [1], StoreReadOnly")


async def test_a_read_only_directory_is_read_while_somebody_else_has_the_store_open(public_path: Path) -> None:
    url = f"sqlite:///{public_path}"
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
        with permissions(public_path, file=0o444, directory=0o555):
            output = await run_python(AS_ANOTHER_USER, url)
            await store.append("order-1", [event()], expected_version=1)
    assert output.startswith("read [1], StoreReadOnly")


async def test_a_read_only_directory_asks_for_the_option_that_makes_it_sound(public_path: Path) -> None:
    url = f"sqlite:///{public_path}"
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
    with permissions(public_path, file=0o444, directory=0o555):
        output = await run_python(AS_ANOTHER_USER, url)
        assert output.startswith("StoreUnavailable")
        assert "immutable=true" in output
        output = await run_python(AS_ANOTHER_USER, f"{url}?immutable=true")
    assert output.startswith("read [1], StoreReadOnly")


async def test_an_immutable_store_is_read_and_not_written(path: Path, url: str) -> None:
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
    async with open_store(url, immutable=True) as store:
        assert await versions(store, "order-1") == [1]
        with pytest.raises(StoreReadOnly):
            await store.append("order-1", [event()], expected_version=ANY)
        with pytest.raises(StoreReadOnly):
            async with store.transaction() as tx:
                assert await versions(tx, "order-1") == [1]
                await tx.append("order-1", [event()], expected_version=ANY)


async def test_a_store_in_use_is_not_immutable(url: str, store: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=ANY)
    with pytest.raises(StorageError, match="not immutable"):
        await open_store(url, immutable=True).open()

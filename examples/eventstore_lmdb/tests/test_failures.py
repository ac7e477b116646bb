"""What goes wrong in a folder is told in the words of `eventstore.errors`."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from eventstore import ANY, EventStore, NewEvent, open_store
from eventstore.errors import (
    InvalidUrl,
    SchemaError,
    SchemaOutdated,
    SchemaTooNew,
    StorageError,
    StoreReadOnly,
    UnknownOption,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"lmdb:///{tmp_path / 'events'}"


async def fill(store: EventStore) -> None:
    while True:
        await store.append("cart-1", [NewEvent("Added", {"text": "x" * 10_000})], expected_version=ANY)


async def test_a_full_store_names_the_option_that_makes_room_and_goes_on(url: str) -> None:
    async with open_store(url, map_size=1_000_000) as store:
        with pytest.raises(StorageError, match="map_size=1,000,000"):
            await fill(store)
        version = await store.stream_version("cart-1")
    async with open_store(url, map_size=2_000_000) as store:
        (event,) = await store.append("cart-1", [NewEvent("Added", {})], expected_version=version)
        assert event.version == version + 1


async def test_a_transaction_goes_on_after_a_write_that_did_not_fit(url: str) -> None:
    too_much = [NewEvent("Added", {"text": "x" * 600_000}) for _ in range(2)]
    async with open_store(url, map_size=1_000_000) as store:
        async with store.transaction() as tx:
            await tx.append("cart-1", [NewEvent("Added", {})], expected_version=0)
            with pytest.raises(StorageError, match="map_size"):
                await tx.append("cart-1", too_much, expected_version=1)
        assert await store.stream_version("cart-1") == 1


async def test_a_read_only_store_reads_and_refuses_writes(url: str) -> None:
    async with open_store(url) as store:
        await store.append("cart-1", [NewEvent("Added", {})], expected_version=0)
    async with open_store(url, read_only=True) as store:
        assert await store.stream_version("cart-1") == 1
        with pytest.raises(StoreReadOnly):
            await store.append("cart-1", [NewEvent("Added", {})], expected_version=1)
        with pytest.raises(StoreReadOnly):
            async with store.transaction():
                pass


@pytest.mark.parametrize("option", ["read_only=true", "migrate=false"])
async def test_what_may_not_be_created_is_missing(url: str, tmp_path: Path, option: str) -> None:
    with pytest.raises(SchemaOutdated):
        async with open_store(f"{url}?{option}"):
            pass
    assert not (tmp_path / "events").exists()


async def test_a_file_that_is_not_lmdb_is_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "data.mdb").write_bytes(b"something else" * 5_000)
    with pytest.raises(StorageError, match="not an LMDB file"):
        async with open_store(url):
            pass


async def test_somebody_elses_data_is_left_alone(url: str, tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "events")) as other, other.begin(write=True) as txn:
        txn.put(b"theirs", b"1")
    with pytest.raises(SchemaError, match="something else"):
        async with open_store(url):
            pass


async def test_a_schema_of_a_later_version_is_left_alone(url: str, tmp_path: Path) -> None:
    async with open_store(url):
        pass
    with lmdb.open(str(tmp_path / "events"), max_dbs=1) as environment:
        facts = environment.open_db(b"facts")
        with environment.begin(write=True) as txn:
            txn.put(b"schema version", (99).to_bytes(8, "big"), db=facts)
    with pytest.raises(SchemaTooNew):
        async with open_store(url):
            pass


async def test_stores_on_one_folder_take_the_same_options(url: str) -> None:
    async with open_store(url):
        with pytest.raises(StorageError, match="same options"):
            async with open_store(url, map_size=5_000_000):
                pass


@pytest.mark.parametrize("url", ["lmdb://", "lmdb:///", "lmdb://host/folder"])
async def test_a_url_names_a_folder(url: str) -> None:
    with pytest.raises(InvalidUrl):
        open_store(url)


async def test_an_unknown_option_is_refused(url: str) -> None:
    with pytest.raises(UnknownOption):
        open_store(url, speed="high")

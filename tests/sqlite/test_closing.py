"""Closing releases everything, and forgetting it keeps no process alive."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

from eventstore import ANY, EventStore, StorageError, StoreNotOpen, open_store
from tests.sqlite.making import event, events, file_names, run_python, versions

pytestmark = pytest.mark.asyncio


async def test_closing_twice_is_closing_once(url: str) -> None:
    store = open_store(url)
    await store.close()
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=ANY)
        await store.close()
    await store.close()


async def test_closing_ends_all_threads_and_leaves_one_file(tmp_path: Path, url: str) -> None:
    before = threading.active_count()
    async with open_store(url, readers=3) as store:
        await store.append("order-1", events(10), expected_version=ANY)
        await asyncio.gather(*(versions(store, "order-1") for _ in range(10)))
        assert before + 1 < threading.active_count() <= before + 4
    assert threading.active_count() == before
    assert file_names(tmp_path) == ["events.db"]


async def test_a_cancelled_close_is_complete_all_the_same(tmp_path: Path, url: str) -> None:
    before = threading.active_count()
    for steps in range(30):
        store = open_store(url)
        await store.open()
        await versions(store, "order-1")
        close = asyncio.create_task(store.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        close.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await close
        await store.close()
        assert threading.active_count() == before
        assert file_names(tmp_path) == ["events.db"]


@pytest.fixture
def no_database(path: Path) -> None:
    path.write_text("no database " * 100)


@pytest.mark.usefixtures("no_database")
async def test_an_opening_that_fails_releases_everything(url: str) -> None:
    before = threading.active_count()
    for _ in range(5):
        with pytest.raises(StorageError):
            await open_store(url).open()
    assert threading.active_count() == before


async def test_calls_under_way_when_the_store_is_closed_end_with_an_error_or_are_done(url: str) -> None:
    store = open_store(url)
    await store.open()
    calls = [
        *(asyncio.create_task(store.append(f"order-{number}", [event()], expected_version=0)) for number in range(20)),
        *(asyncio.create_task(versions(store, f"order-{number}")) for number in range(20)),
    ]
    await calls[0]
    await store.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, (list, StoreNotOpen)) for result in results)
    async with open_store(url) as again:
        for number, result in enumerate(results[:20]):
            assert await versions(again, f"order-{number}") == ([1] if isinstance(result, list) else [])


async def test_closing_inside_a_transaction_rolls_it_back(url: str, store: EventStore) -> None:
    with pytest.raises(StoreNotOpen):
        async with store.transaction() as tx:
            await tx.append("order-1", [event()], expected_version=0)
            await store.close()
            await tx.append("order-1", [event()], expected_version=1)
    async with open_store(url) as again:
        assert await versions(again, "order-1") == []


FORGETFUL = """
import asyncio, sys
import eventstore

async def main():
    store = eventstore.open_store(sys.argv[1])
    await store.open()
    await store.append("order-1", [eventstore.NewEvent("Counted", {})], expected_version=eventstore.ANY)
    print([event.version async for event in store.read_stream("order-1")])
    globals()["kept"] = store

asyncio.run(main())
"""


async def test_a_process_that_forgot_to_close_ends_all_the_same(url: str) -> None:
    assert await run_python(FORGETFUL, url) == "[1]\n"
    async with open_store(url) as store:
        assert await versions(store, "order-1") == [1]


async def test_a_private_store_that_was_not_closed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert await run_python(FORGETFUL, "sqlite://") == "[1]\n"
    assert file_names(tmp_path) == []

"""A restore beside others, and one that is cut short: all of it is there, or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eventstore import EventStore, StorageError, StoreReadOnly, StoreUnavailable, open_store
from eventstore.backend import Conflict, StreamState
from tests.sqlite.making import (
    backend_of,
    content_of_tables,
    event,
    positions,
    recorded_elsewhere,
    start_python,
    stream_elsewhere,
    versions,
)
from tests.sqlite.test_cancellation import STEPS, cancel_after
from tests.sqlite.test_files import pragma
from tests.sqlite.test_subscriptions import waiting

pytestmark = pytest.mark.asyncio


# --- Beside others ---------------------------------------------------------------------------------------------------


async def test_what_is_restored_is_delivered(store: EventStore) -> None:
    asked = await waiting(store)
    await backend_of(store).restore(stream_elsewhere("order-1", 2))
    async with asyncio.timeout(60):
        assert (await asked).version == 1


async def test_who_waits_is_woken_where_no_poll_would_look() -> None:
    async with open_store("sqlite://") as private:
        asked = await waiting(private)
        await backend_of(private).restore(stream_elsewhere("order-1", 2))
        async with asyncio.timeout(60):
            assert (await asked).version == 1


async def test_what_another_store_restores_is_delivered(url: str, store: EventStore) -> None:
    asked = await waiting(store)
    async with open_store(url) as other:
        await backend_of(other).restore(stream_elsewhere("order-1", 2))
        async with asyncio.timeout(60):
            assert (await asked).version == 1


async def test_of_two_stores_that_restore_the_same_events_one_does(url: str, store: EventStore) -> None:
    async with open_store(url) as other:
        for number in range(1, 20):
            listed = stream_elsewhere(f"order-{number}", 3)
            outcomes = await asyncio.gather(*(backend_of(each).restore(listed) for each in (store, other)))
            (conflict,) = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
            assert conflict.streams == (StreamState(f"order-{number}", 3, deleted=False),)
            assert [stored.event_id for stored in conflict.stored] == [each.event.event_id for each in listed]
        assert len(await positions(store)) == 3 * 19


async def test_two_stores_that_restore_the_same_stream_leave_it_at_the_higher_version(
    url: str, store: EventStore
) -> None:
    async with open_store(url) as other:
        for number in range(1, 20):
            stream_id = f"order-{number}"
            low, high = backend_of(store).restore_stream(stream_id, 3), backend_of(other).restore_stream(stream_id, 5)
            late, done = await asyncio.gather(low, high)
            assert late in (None, StreamState(stream_id, 5, deleted=False))
            assert done is None
            assert await store.stream_version(stream_id) == 5


# --- What cannot be written ------------------------------------------------------------------------------------------


async def test_a_full_disk_restores_nothing_and_tells_no_position(path: Path, store: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=0)
    pages = await pragma(store, "page_count")
    await pragma(store, f"max_page_count = {pages}")
    before = content_of_tables(path)
    with pytest.raises(StorageError, match="is full"):
        await backend_of(store).restore(stream_elsewhere("order-2", 1000))
    assert content_of_tables(path) == before
    assert await store.head() == 1
    await pragma(store, "max_page_count = 100000")
    assert await backend_of(store).restore(stream_elsewhere("order-2", 1000)) == tuple(range(2, 1002))


async def test_an_error_at_an_event_in_the_middle_restores_nothing(path: Path, store: EventStore) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            """
            CREATE TRIGGER no_fifth_event BEFORE INSERT ON events WHEN NEW.version = 5
            BEGIN SELECT RAISE(ABORT, 'there is no fifth'); END
            """
        )
    before = content_of_tables(path)
    with pytest.raises(StorageError, match="there is no fifth"):
        await backend_of(store).restore(stream_elsewhere("order-1", 9))
    assert content_of_tables(path) == before
    assert await backend_of(store).restore(stream_elsewhere("order-1", 4)) == (1, 2, 3, 4)


async def test_a_lock_held_too_long_is_unavailable_and_restores_nothing(path: Path, url: str) -> None:
    async with open_store(url, busy_timeout=0.05) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await backend_of(store).restore(stream_elsewhere("order-1", 3))
            with pytest.raises(StoreUnavailable, match="locked"):
                await backend_of(store).restore_stream("order-2", 3)
            other.execute("ROLLBACK")
        assert await store.head() == 0
        assert await backend_of(store).restore_stream("order-2", 3) is None


async def test_a_store_that_cannot_be_written_says_so(url: str) -> None:
    async with open_store(url) as store:
        await store.append("order-1", [event()], expected_version=0)
    async with open_store(url, immutable=True) as store:
        with pytest.raises(StoreReadOnly):
            await backend_of(store).restore(stream_elsewhere("order-2", 3))
        with pytest.raises(StoreReadOnly):
            await backend_of(store).restore_stream("order-2", 3)


# --- Cut short -------------------------------------------------------------------------------------------------------


async def test_a_cancelled_restore_is_whole_or_absent(store: EventStore) -> None:
    backend = backend_of(store)
    for steps in STEPS:
        stream_id = f"order-{steps}"
        ended = await cancel_after(steps, backend.restore(stream_elsewhere(stream_id, 3)))
        found = await versions(store, stream_id)
        assert found == [1, 2, 3] if ended else found in ([], [1, 2, 3])
        assert await versions(store, stream_id) == found
        await backend.restore([recorded_elsewhere(stream_id, len(found) + 1, second=3)])
    assert (await store.verify()).is_sound


async def test_a_cancelled_restore_of_a_stream_is_whole_or_absent(store: EventStore) -> None:
    for steps in STEPS:
        stream_id = f"order-{steps}"
        ended = await cancel_after(steps, backend_of(store).restore_stream(stream_id, 3))
        found = await store.stream_version(stream_id)
        assert found == 3 if ended else found in (0, 3)
        await store.append(stream_id, [event()], expected_version=found)
    assert (await store.verify()).is_sound


RESTORE_FOR_EVER = """
import asyncio, sys
from eventstore import open_store
from tests.sqlite.making import backend_of, recorded_elsewhere

async def main():
    async with open_store(sys.argv[1]) as store:
        for version in range(1, 10**9):
            streams = [f"order-{number}" for number in range(200)]
            assert await backend_of(store).restore_stream(f"empty-{version}", version) is None
            await backend_of(store).restore([recorded_elsewhere(each, version, second=version) for each in streams])
            print(version, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("restores", [1, 2, 5, 11])
async def test_a_killed_process_leaves_whole_restores(url: str, restores: int) -> None:
    process = await start_python(RESTORE_FOR_EVER, url)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        acknowledged = [int(await process.stdout.readline()) for _ in range(restores)][-1]
    process.kill()
    await process.communicate()
    async with open_store(url) as store:
        found = [info.version async for info in store.list_streams(stream_type="order")]
        assert len(found) == 200
        assert len(set(found)) == 1
        assert found[0] >= acknowledged
        assert await positions(store) == list(range(1, 200 * found[0] + 1))
        empty = {info.version async for info in store.list_streams(stream_type="empty")}
        assert set(range(1, acknowledged + 1)) <= empty
        assert (await store.verify()).is_sound

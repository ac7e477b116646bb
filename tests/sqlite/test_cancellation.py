"""A cancelled call happened wholly or not at all, and disturbs nobody."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from eventstore import ANY, EventStore, StreamWrite, open_store
from tests.sqlite.making import event, events, versions

pytestmark = pytest.mark.asyncio


async def cancel_after(steps: int, work: Coroutine[Any, Any, object]) -> bool:
    """Cancel work after so many turns of the event loop; return whether it had ended."""
    task = asyncio.create_task(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return not task.cancelled()


# The work of a call lasts some hundred turns of a loop that has nothing else to do.
STEPS = [*range(10), *range(10, 400, 13)]


async def test_a_cancelled_append_is_whole_or_absent(store: EventStore) -> None:
    for steps in STEPS:
        stream_id = f"order-{steps}"
        ended = await cancel_after(steps, store.append(stream_id, events(3), expected_version=0))
        found = await versions(store, stream_id)
        assert found == [1, 2, 3] if ended else found in ([], [1, 2, 3])
        # What is found stays so: nothing of it is still under way.
        assert await versions(store, stream_id) == found
        await store.append(stream_id, [event()], expected_version=len(found))


async def test_a_cancelled_append_of_many_is_whole_or_absent(store: EventStore) -> None:
    for steps in STEPS:
        writes = [StreamWrite(f"{name}-{steps}", events(2), 0) for name in ("order", "invoice")]
        await cancel_after(steps, store.append_many(writes))
        found = [await versions(store, write.stream_id) for write in writes]
        assert found in ([[], []], [[1, 2], [1, 2]])


async def test_a_cancelled_transaction_is_whole_or_absent(store: EventStore) -> None:
    async def transact(stream_id: str) -> None:
        async with store.transaction() as tx:
            await tx.append(stream_id, [event()], expected_version=0)
            await tx.delete_stream(f"{stream_id}-x", expected_version=0)
            await tx.append(stream_id, [event()], expected_version=1)

    for steps in STEPS:
        stream_id = f"order-{steps}"
        await cancel_after(steps, transact(stream_id))
        deleted = await store.stream_info(f"{stream_id}-x") is not None
        assert await versions(store, stream_id) == ([1, 2] if deleted else [])
        await store.append("after", [event()], expected_version=ANY)


async def test_a_cancelled_deletion_is_whole_or_absent(store: EventStore) -> None:
    for steps in STEPS:
        stream_id = f"order-{steps}"
        await store.append(stream_id, events(3), expected_version=0)
        await cancel_after(steps, store.delete_stream(stream_id, expected_version=3, erase=True))
        info = await store.stream_info(stream_id)
        assert info is not None
        assert (info.deleted, info.first_version) in ((False, 1), (True, 4))


async def test_cancelled_readers_give_their_connections_back(store: EventStore) -> None:
    await store.append("order-1", events(500), expected_version=0)
    for steps in STEPS:
        await asyncio.gather(*(cancel_after(steps, versions(store, "order-1")) for _ in range(9)))
        assert len(await versions(store, "order-1")) == 500


async def test_a_call_inside_a_transaction_may_be_cancelled_alone(store: EventStore) -> None:
    async with store.transaction() as tx:
        done = 0
        for steps in STEPS:
            stream_id = f"order-{steps}"
            await cancel_after(steps, tx.append(stream_id, events(2), expected_version=0))
            await cancel_after(steps, tx.delete_stream(f"{stream_id}-x", expected_version=0))
            found = await versions(tx, stream_id)
            assert found in ([], [1, 2])
            done += len(found)
    assert len([recorded async for recorded in store.read_all()]) == done


async def test_waiting_for_another_writer_ends_at_once_when_cancelled(path: Path, url: str) -> None:
    async with open_store(url, busy_timeout=3600) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.append("order-1", [event()], expected_version=ANY)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), store.transaction():
                pytest.fail("the lock was held")
        other.execute("ROLLBACK")
        other.close()
        await store.append("order-1", [event()], expected_version=0)


async def test_a_cancelled_waiter_leaves_the_writer_free(store: EventStore) -> None:
    backend = store._backend
    async with backend.transaction():
        waiter = asyncio.create_task(backend.save_checkpoint("stock", 1, 0))
        second = asyncio.create_task(backend.save_checkpoint("stock", 2, 0))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert await second == 0
    assert await store.load_checkpoint("stock") == 2


async def test_opening_may_be_cancelled(tmp_path: Path) -> None:
    for steps in STEPS:
        url = f"sqlite:///{tmp_path}/{steps}.db"
        await cancel_after(steps, open_and_close(open_store(url)))
        async with open_store(url) as store:
            await store.append("order-1", [event()], expected_version=0)


async def open_and_close(store: EventStore) -> None:
    async with store:
        pass

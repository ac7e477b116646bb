"""Subscribers of a file hear of whatever is committed to it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from uuid import uuid4

import aiosqlite
import pytest

from eventstore import EventStore, RecordedEvent
from tests.sqlite.making import event, run_python

pytestmark = pytest.mark.asyncio


async def waiting(store: EventStore) -> asyncio.Task[RecordedEvent]:
    """Return a task that waits for the first event."""
    events = store.subscribe()
    task = asyncio.create_task(anext(events))
    while not events.is_caught_up:  # noqa: ASYNC110 - its own task says so
        await asyncio.sleep(0.001)
    return task


APPEND = """
import asyncio
import sys
from eventstore import NewEvent, open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.append("order-1", [NewEvent("Placed", {})], expected_version=0)

asyncio.run(main())
"""


async def test_what_another_process_appends_is_delivered(url: str, store: EventStore) -> None:
    asked = await waiting(store)
    await run_python(APPEND, url)
    assert (await asked).event_type == "Placed"


async def test_what_a_bound_transaction_commits_is_delivered(path: Path, store: EventStore) -> None:
    asked = await waiting(store)
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await connection.execute("BEGIN IMMEDIATE")
        (recorded,) = await store.bind(connection).append("order-1", [event()], expected_version=0)
        await connection.execute("COMMIT")
        assert await asked == recorded


async def test_what_plain_sql_inserts_is_delivered(path: Path, store: EventStore) -> None:
    (recorded,) = await store.append("order-1", [event()], expected_version=0)
    events = store.subscribe(after=recorded.global_position)
    asked = asyncio.create_task(anext(events))
    connection = sqlite3.connect(path)
    columns: list[str] = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    changed = {"version": "2", "global_position": "global_position + 1", "event_id": f"'{uuid4()}'"}
    values = ", ".join(changed.get(column, column) for column in columns)
    connection.execute(f"INSERT INTO events ({', '.join(columns)}) SELECT {values} FROM events")
    connection.commit()
    connection.close()
    assert (await asked).version == 2


async def test_many_subscriptions_share_one_connection_that_looks(store: EventStore) -> None:
    asked = [await waiting(store) for _ in range(50)]
    (recorded,) = await store.append("order-1", [event()], expected_version=0)
    assert await asyncio.gather(*asked) == [recorded] * 50
    connections = store._backend._connections._open  # type: ignore[attr-defined]
    assert len(connections) <= 1 + 4 + 1, "one that writes, four that read, one that looks"

"""What a page of `list_streams` costs, in steps of SQLite's virtual machine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eventstore import NO_STREAM, EventStore, StreamWrite
from eventstore_sqlite import queries
from tests.sqlite.making import event

pytestmark = pytest.mark.asyncio


def steps_of_a_page(path: Path) -> int:
    """Return how many steps a page of five streams takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(count, 1)
        parameters = queries.many_streams(None, None, "order-1", 5, include_deleted=True)
        assert len(connection.execute(queries.STREAMS, parameters).fetchall()) == 5
    return steps


async def add_streams(store: EventStore, first: int, last: int) -> None:
    writes = [StreamWrite(f"order-{number}", [event()], NO_STREAM) for number in range(first, last)]
    await store.append_many(writes)


async def test_the_cost_of_a_page_of_streams_does_not_grow_with_the_store(store: EventStore, path: Path) -> None:
    await add_streams(store, 100, 120)
    before = steps_of_a_page(path)
    await add_streams(store, 120, 720)
    assert steps_of_a_page(path) < 2 * before

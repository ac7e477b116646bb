"""What the tests of partitions do beside the store."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg

from eventstore import ANY, EventStore, Filter
from tests.postgres.driving import event

SIZE: Final = 10
"""Positions in a partition."""


async def rows(connection: psycopg.AsyncConnection, query: str) -> list[tuple[int, ...]]:
    return await (await connection.execute(query.encode())).fetchall()


async def bounds(connection: psycopg.AsyncConnection) -> list[tuple[int, ...]]:
    """Return the first and last position of each partition, in order."""
    query = r"""
        SELECT bound[1]::bigint, bound[2]::bigint - 1
        FROM pg_inherits
        JOIN pg_class ON pg_class.oid = inhrelid
        CROSS JOIN regexp_match(pg_get_expr(relpartbound, pg_class.oid), '\(''(\d+)''\) TO \(''(\d+)''\)') AS bound
        WHERE inhparent = 'events'::regclass ORDER BY 1
    """
    return await rows(connection, query)


async def fill(store: EventStore, events: int, stream_id: str = "filled-1") -> None:
    for _ in range(events):
        await store.append(stream_id, [event()], expected_version=ANY)


async def log_of(store: EventStore, filter: Filter | None = None, *, backward: bool = False) -> list[tuple[str, int]]:
    return [(event.stream_id, event.version) async for event in store.read_all(filter=filter, backward=backward)]


async def until_the_table_is_waited_for(connection: psycopg.AsyncConnection) -> None:
    """Return when some session waits for a lock on the table."""
    async with asyncio.timeout(10):
        while not await rows(connection, "SELECT FROM pg_locks WHERE relation = 'events'::regclass AND NOT granted"):
            pass

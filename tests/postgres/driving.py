"""What the tests of the Postgres backend do beside the store: connections, appends in flight, short readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from eventstore import ANY, EventStore, Filter, NewEvent, RecordedEvent, Subscription


def event() -> NewEvent:
    return NewEvent("Ordered", {"n": 1})


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(url.partition("?")[0], autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def append_in_flight(writer: EventStore, url: str, stream_id: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Hold open a transaction that has drawn a position; the body ends it."""
    async with connected(url) as connection:
        await connection.execute("BEGIN")
        await writer.bind(connection).append(stream_id, [NewEvent("Slow", {})], expected_version=ANY)
        yield connection


async def append(store: EventStore, stream_id: str) -> RecordedEvent:
    return (await store.append(stream_id, [NewEvent("Quick", {})], expected_version=ANY))[0]


async def streams_seen(store: EventStore, after: int = 0, filter: Filter | None = None) -> list[str]:
    return [event.stream_id async for event in store.read_all(after=after, filter=filter)]


async def until_blocked(connection: psycopg.AsyncConnection) -> None:
    """Return when some other session waits for this connection's transaction."""
    async with asyncio.timeout(10):
        while True:
            cursor = await connection.execute(
                # Not pg_stat_activity: within a transaction that goes on showing who was there when it was first asked.
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            if (await cursor.fetchall())[0][0]:
                return


async def listeners(url: str) -> int:
    """Return how many sessions listen for notifications of a store."""
    async with connected(url) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        return int((await cursor.fetchall())[0][0])


async def until_listeners_are(number: int, url: str) -> None:
    """Return when so many sessions listen."""
    async with asyncio.timeout(20):
        while await listeners(url) != number:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def waiting(events: Subscription) -> asyncio.Task[RecordedEvent]:
    """Return a task that waits for a subscription's next event."""
    await events.begin()
    task = asyncio.create_task(anext(events))
    while not events.is_caught_up:  # noqa: ASYNC110 - its own task says so
        await asyncio.sleep(0.001)
    return task

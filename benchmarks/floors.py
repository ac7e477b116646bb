"""The floors: the drivers alone, doing the least that could be called the same job."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiosqlite
import orjson
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from benchmarks.events import TEXT
from benchmarks.measuring import Sample, Turn, repeat, repeat_in_thread

TABLE: Final = """
CREATE TABLE IF NOT EXISTS floor (
    position BIGSERIAL PRIMARY KEY,
    stream_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    data JSONB NOT NULL,
    UNIQUE (stream_id, version)
)
"""
INSERT: Final = """
INSERT INTO floor (stream_id, version, event_type, data) VALUES (%s, %s, %s, %s::text::jsonb) RETURNING position
"""
INSERT_MANY: Final = """
INSERT INTO floor (stream_id, version, event_type, data)
SELECT %b, version, event_type, data::jsonb
FROM unnest(%b::bigint[], %b::text[], %b::text[]) AS row (version, event_type, data)
RETURNING position
"""
READ_STREAM: Final = "SELECT position, version, event_type, data::text FROM floor WHERE stream_id = %s ORDER BY version"
READ_PAGE: Final = """
SELECT position, stream_id, version, event_type, data::text FROM floor WHERE position > %s ORDER BY position LIMIT 500
"""


async def connect(url: str) -> AsyncConnection[Any]:
    """Return a connection in autocommit mode, whose statements are prepared at once."""
    return await AsyncConnection.connect(url, autocommit=True, prepare_threshold=0)


@asynccontextmanager
async def inserts(url: str, *, connections: int, seconds: float) -> AsyncIterator[Turn]:
    """One INSERT a row, each committed, on so many connections with a task each."""
    text = TEXT.decode()
    async with AsyncExitStack() as stack:
        open_ones = [await stack.enter_async_context(await connect(url)) for _ in range(connections)]
        await open_ones[0].execute(TABLE)

        async def insert(task: int, number: int) -> None:
            await open_ones[task].execute(INSERT, (uuid4().hex, 1, "OrderPlaced", text), binary=True)

        yield lambda: repeat(seconds, connections, insert)


@asynccontextmanager
async def inserts_through_a_pool(url: str, *, connections: int, tasks: int, seconds: float) -> AsyncIterator[Turn]:
    """The same with more tasks than connections, which wait for one in a pool."""
    text = TEXT.decode()
    options = {"autocommit": True, "prepare_threshold": 0}
    async with AsyncConnectionPool(url, min_size=connections, max_size=connections, kwargs=options) as pool:
        await pool.wait()
        async with pool.connection() as connection:
            await connection.execute(TABLE)

        async def insert(task: int, number: int) -> None:
            async with pool.connection() as connection:
                await connection.execute(INSERT, (uuid4().hex, 1, "OrderPlaced", text), binary=True)

        yield lambda: repeat(seconds, tasks, insert)


@asynccontextmanager
async def inserts_of_many(url: str, *, rows: int, seconds: float) -> AsyncIterator[Turn]:
    """One INSERT of many rows of one stream, from binary arrays."""
    async with await connect(url) as connection:
        await connection.execute(TABLE)
        types, texts = ["OrderPlaced"] * rows, [TEXT.decode()] * rows
        stream_id = uuid4().hex
        versions = count(1)

        async def insert(task: int, number: int) -> None:
            new = [next(versions) for _ in range(rows)]
            cursor = connection.cursor(binary=True)
            await cursor.execute(INSERT_MANY, (stream_id, new, types, texts), binary=True)
            await cursor.fetchall()

        yield lambda: repeat(seconds, 1, insert, pieces=rows)


@asynccontextmanager
async def stream_reads(url: str, *, events: int, seconds: float) -> AsyncIterator[Turn]:
    """SELECT a stream, its JSON decoded into dicts by orjson."""
    async with await connect(url) as connection:
        await connection.execute(TABLE)
        stream_id = uuid4().hex
        await _fill(connection, stream_id, events)

        async def read(task: int, number: int) -> None:
            cursor = connection.cursor(binary=True)
            await cursor.execute(READ_STREAM, (stream_id,))
            found = [_as_dict(row) for row in await cursor.fetchall()]
            assert len(found) == events

        yield lambda: repeat(seconds, 1, read, pieces=events)


@asynccontextmanager
async def scans(url: str, *, events: int) -> AsyncIterator[Turn]:
    """SELECT the whole table in pages of 500, its JSON decoded into dicts by orjson."""
    async with await connect(url) as connection:
        await connection.execute(TABLE)
        for number in range(events // 1000):
            await _fill(connection, f"filled-{number}", 1000)
        await connection.execute("VACUUM ANALYZE floor")

        async def scan(task: int, number: int) -> None:
            last = found = 0
            while True:
                cursor = connection.cursor(binary=True)
                await cursor.execute(READ_PAGE, (last,))
                page = [_as_dict(row) for row in await cursor.fetchall()]
                if not page:
                    break
                found += len(page)
                last = page[-1]["position"]
            assert found == events

        yield lambda: repeat(0, 1, scan, pieces=events)


def _as_dict(row: tuple[Any, ...]) -> dict[str, Any]:
    *_, data = row
    return {"position": row[0], "version": row[-3], "event_type": row[-2], "data": orjson.loads(data)}


async def _fill(connection: AsyncConnection[Any], stream_id: str, events: int) -> None:
    values = list(range(1, events + 1)), ["OrderPlaced"] * events, [TEXT.decode()] * events
    await connection.execute(INSERT_MANY, (stream_id, *values))


# --- SQLite ----------------------------------------------------------------------------------------------------------

SQLITE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS floor (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (stream_id, version)
)
"""
SQLITE_INSERT: Final = "INSERT INTO floor (stream_id, version, event_type, data) VALUES (?, ?, ?, ?)"
SQLITE_SETTINGS: Final = "PRAGMA journal_mode = wal", "PRAGMA synchronous = full", SQLITE_TABLE


@asynccontextmanager
async def sqlite_inserts(file: Path, *, seconds: float) -> AsyncIterator[Turn]:
    """`sqlite3` alone: one INSERT a row, each committed."""
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in SQLITE_SETTINGS:
        connection.execute(statement)
    text = TEXT.decode()

    def insert(number: int) -> None:
        connection.execute(SQLITE_INSERT, (uuid4().hex, 1, "OrderPlaced", text))

    async def turn() -> Sample:
        return repeat_in_thread(seconds, insert)

    yield turn
    connection.close()


@asynccontextmanager
async def aiosqlite_inserts(file: Path, *, seconds: float) -> AsyncIterator[Turn]:
    """One call of aiosqlite that does one INSERT, committed."""
    text = TEXT.decode()
    async with aiosqlite.connect(file, isolation_level=None) as connection:
        for statement in SQLITE_SETTINGS:
            await connection.execute(statement)

        async def insert(task: int, number: int) -> None:
            await connection.execute_fetchall(SQLITE_INSERT, (uuid4().hex, 1, "OrderPlaced", text))

        yield lambda: repeat(seconds, 1, insert)


@asynccontextmanager
async def sqlite_scans(file: Path, *, events: int) -> AsyncIterator[Turn]:
    """`sqlite3` alone: SELECT the whole table, its JSON decoded into dicts by orjson."""
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in SQLITE_SETTINGS:
        connection.execute(statement)
    rows = [(f"filled-{number}", 1, "OrderPlaced", TEXT.decode()) for number in range(events)]
    connection.execute("BEGIN")
    connection.executemany(SQLITE_INSERT, rows)
    connection.execute("COMMIT")

    def scan(number: int) -> None:
        found = connection.execute("SELECT position, stream_id, version, event_type, data FROM floor ORDER BY position")
        assert sum(1 for row in found if _as_dict(row)) == events

    async def turn() -> Sample:
        return repeat_in_thread(0, scan, pieces=events)

    yield turn
    connection.close()


# --- Memory ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def dict_appends(*, seconds: float) -> AsyncIterator[Turn]:
    """An append to a dict of lists."""
    streams: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)

    async def turn() -> Sample:
        return await asyncio.to_thread(
            repeat_in_thread, seconds, lambda number: streams[uuid4().hex].append(("OrderPlaced", TEXT))
        )

    yield turn

"""P8 and S4: stores that grow, beside one that stays small: appends, and each kind of reading, must not slow down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Final

import eventstore
from benchmarks.events import TEXT
from benchmarks.measuring import Contestant, Mark, Result, Turn, race, repeat
from benchmarks.running import Bench, a_store, appends
from eventstore import EventStore, Filter

STREAM_LENGTH: Final = 10
PAGE: Final = 100

# Written by the servers themselves: what grows here is the store, not the time that a run takes.
FILL_POSTGRES: Final = """
INSERT INTO events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
SELECT
    (lpad(to_hex(n), 12, '0') || '7000' || '8000' || substr(md5(n::text), 1, 12))::uuid,
    'filled-' || ((n - 1) / %(length)s),
    'filled',
    (n - 1) %% %(length)s + 1,
    CASE WHEN n %% 1000 = 0 THEN 'OrderLost' ELSE 'OrderPlaced' END,
    %(data)s::text::jsonb,
    '{}',
    statement_timestamp()
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS row (n)
"""
FILL_SQLITE: Final = """
WITH RECURSIVE row (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM row WHERE n < :last)
INSERT INTO events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
SELECT
    printf('%08x-0000-7000-8000-%s', n, lower(hex(randomblob(6)))),
    'filled-' || ((n - 1) / :length),
    'filled',
    (n - 1) % :length + 1,
    CASE WHEN n % 1000 = 0 THEN 'OrderLost' ELSE 'OrderPlaced' END,
    :data,
    '{}',
    1700000000000000 + n
FROM row
"""


async def p8_postgres(bench: Bench) -> list[Result]:
    """Postgres: the same at growing sizes."""
    async with a_store(bench) as small, a_store(bench) as large:
        return await _grow(bench, "P8", "Postgres", small, large, fill_postgres)


async def s4_sqlite(bench: Bench) -> list[Result]:
    """SQLite: the same in one file."""
    one, other = bench.file(), bench.file()
    async with eventstore.open_store(f"sqlite:///{one}") as small, eventstore.open_store(f"sqlite:///{other}") as large:
        return await _grow(bench, "S4", "SQLite", small, large, _fill_sqlite)


Fill = Callable[[EventStore, int, int], Awaitable[None]]


async def _grow(bench: Bench, row: str, engine: str, small: EventStore, large: EventStore, fill: Fill) -> list[Result]:
    first, *sizes = bench.pace.growth
    await fill(small, 1, first)
    await fill(large, 1, first)
    filled = first
    results: list[Result] = []
    for size in sizes:
        await fill(large, filled + 1, size)
        filled = size
        for kind in (_append, _tail, _stream, _filtered, _listing):
            name = (kind.__doc__ or "").strip(".")
            title = f"{engine} of {size:,}: {name}"
            result = Result(row, title, "calls/s", marks=[Mark("small", 0.8)])
            seconds = bench.pace.seconds / 2
            contestants: dict[str, Contestant] = {
                "ours": partial(kind, large, size // STREAM_LENGTH, seconds),
                "small": partial(kind, small, first // STREAM_LENGTH, seconds),
            }
            results.append(await race(result, contestants, bench.pace.rounds))
    return results


@asynccontextmanager
async def _append(store: EventStore, streams: int, seconds: float) -> AsyncIterator[Turn]:
    """single appends."""
    async with appends(store, tasks=1, seconds=seconds) as turn:
        yield turn


@asynccontextmanager
async def _tail(store: EventStore, streams: int, seconds: float) -> AsyncIterator[Turn]:
    """the last 100 events."""

    async def read(task: int, number: int) -> None:
        assert len([event async for event in store.read_all(limit=PAGE, backward=True)]) == PAGE

    yield lambda: repeat(seconds, 1, read)


@asynccontextmanager
async def _stream(store: EventStore, streams: int, seconds: float) -> AsyncIterator[Turn]:
    """a stream of 10."""
    random = Random(1)

    async def read(task: int, number: int) -> None:
        stream_id = f"filled-{random.randrange(streams)}"
        assert len([event async for event in store.read_stream(stream_id)]) == STREAM_LENGTH

    yield lambda: repeat(seconds, 1, read)


@asynccontextmanager
async def _filtered(store: EventStore, streams: int, seconds: float) -> AsyncIterator[Turn]:
    """the last 10 of a rare type."""
    rare = Filter(event_types=["OrderLost"])

    async def read(task: int, number: int) -> None:
        assert len([event async for event in store.read_all(limit=10, backward=True, filter=rare)]) == 10

    yield lambda: repeat(seconds, 1, read)


@asynccontextmanager
async def _listing(store: EventStore, streams: int, seconds: float) -> AsyncIterator[Turn]:
    """a page of 100 stream ids."""

    async def read(task: int, number: int) -> None:
        listed = [info async for info in store.list_streams(stream_type="filled", limit=PAGE)]
        assert len(listed) == PAGE

    yield lambda: repeat(seconds, 1, read)


async def fill_postgres(store: EventStore, first: int, last: int) -> None:
    """Insert events numbered from `first` to `last`."""
    async with store.transaction() as tx:
        values = {"first": first, "last": last, "length": STREAM_LENGTH, "data": TEXT.decode()}
        await tx.connection.execute(FILL_POSTGRES, values)
    async with store.transaction() as tx:
        await tx.connection.execute("ANALYZE events")


async def _fill_sqlite(store: EventStore, first: int, last: int) -> None:
    async with store.transaction() as tx:
        values = {"first": first, "last": last, "length": STREAM_LENGTH, "data": TEXT.decode()}
        await tx.connection.execute(FILL_SQLITE, values)

"""What the rows of the table share: the server, a folder for files, and how long they may take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import eventstore
from benchmarks.events import an_event
from benchmarks.measuring import Result, Sample, Turn, repeat
from benchmarks.servers import a_database
from eventstore import NO_STREAM, EventStore, StreamWrite
from tests.postgres_server import PostgresServer


@dataclass(frozen=True, slots=True)
class Pace:
    """`seconds` a turn, `rounds` of turns, `events` in a log that is scanned, `growth` of the store that grows."""

    seconds: float
    rounds: int
    events: int
    growth: tuple[int, ...]


FULL = Pace(seconds=0.5, rounds=5, events=200_000, growth=(10_000, 300_000))
QUICK = Pace(seconds=0.1, rounds=2, events=10_000, growth=(10_000, 30_000))


@dataclass(frozen=True, slots=True)
class Bench:
    """One run."""

    server: PostgresServer
    folder: Path
    pace: Pace

    def file(self) -> Path:
        """Return the path of a new file."""
        return self.folder / f"{uuid4().hex}.db"


Row: TypeAlias = Callable[[Bench], Awaitable[Result]]


@asynccontextmanager
async def a_store(bench: Bench) -> AsyncIterator[EventStore]:
    """Open a store on a Postgres database of its own."""
    async with a_database(bench.server) as url, eventstore.open_store(url) as store:
        yield store


@asynccontextmanager
async def appends(store: EventStore, *, tasks: int, seconds: float) -> AsyncIterator[Turn]:
    """Ours: single-event appends to new streams with an exact expected version, from so many tasks."""

    async def append(task: int, number: int) -> None:
        await store.append(f"order-{uuid4().hex}", [an_event()], expected_version=0)

    yield lambda: repeat(seconds, tasks, append)


async def fill(store: EventStore, events: int, *, rare_every: int = 100) -> None:
    """Append so many events in large batches, every so manieth of a rare type."""
    batch = 1000
    for first in range(0, events, batch):
        new = [
            an_event("OrderPlaced" if number % rare_every else "OrderLost") for number in range(first, first + batch)
        ]
        await store.append_many([StreamWrite(f"filled-{first}", new, NO_STREAM)])


async def scan_once(read: Callable[[], Awaitable[int]], events: int) -> Sample:
    """Return one whole scan as a sample."""

    async def scan(task: int, number: int) -> None:
        assert await read() == events

    return await repeat(0, 1, scan, pieces=events)

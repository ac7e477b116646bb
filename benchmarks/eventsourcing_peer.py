"""The peer `eventsourcing`: its recorders, called as its application class calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from benchmarks.events import TEXT
from benchmarks.measuring import NotThere, Sample, Turn, repeat_in_thread, together

if TYPE_CHECKING:
    from eventsourcing.persistence import ApplicationRecorder, StoredEvent

PAGE = 500


@contextmanager
def postgres_recorder(url: str, *, connections: int = 1) -> Iterator[ApplicationRecorder]:
    """Yield its recorder for Postgres with its stored function, which is one round trip."""
    try:
        from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
    except ImportError:
        raise NotThere("the package eventsourcing is not installed") from None
    parts = urlsplit(url)
    datastore = PostgresDatastore(
        parts.path.strip("/"),
        parts.hostname or "",
        parts.port or 5432,
        parts.username or "",
        "",
        pool_size=connections,
        enable_db_functions=True,
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name="peer_events")
    recorder.create_table()
    datastore.pool.wait()
    yield recorder
    datastore.close()


@contextmanager
def sqlite_recorder(file: Path) -> Iterator[ApplicationRecorder]:
    """Yield its recorder for SQLite; it writes ahead, with SQLite's default `synchronous=FULL`."""
    try:
        from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
    except ImportError:
        raise NotThere("the package eventsourcing is not installed") from None
    datastore = SQLiteDatastore(str(file))
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()
    yield recorder
    datastore.close()


@contextmanager
def memory_recorder() -> Iterator[ApplicationRecorder]:
    """Yield its recorder of plain Python objects, which checks nothing."""
    try:
        from eventsourcing.popo import POPOApplicationRecorder
    except ImportError:
        raise NotThere("the package eventsourcing is not installed") from None
    yield POPOApplicationRecorder()


def stored_event(originator_id: UUID, version: int) -> StoredEvent:
    """Return an event as its recorders take them."""
    from eventsourcing.persistence import StoredEvent

    return StoredEvent(originator_id=originator_id, originator_version=version, topic="OrderPlaced", state=TEXT)


@asynccontextmanager
async def appends(recorder: ApplicationRecorder, *, threads: int, seconds: float) -> AsyncIterator[Turn]:
    """Single-event appends to new streams, from so many threads."""
    with ThreadPoolExecutor(threads) as pool:

        def append(number: int) -> None:
            recorder.insert_events([stored_event(uuid4(), 1)])

        async def turn() -> Sample:
            loop = asyncio.get_running_loop()
            work = [loop.run_in_executor(pool, repeat_in_thread, seconds, append) for _ in range(threads)]
            return together(await asyncio.gather(*work))

        yield turn


@asynccontextmanager
async def batches(recorder: ApplicationRecorder, *, events: int, seconds: float) -> AsyncIterator[Turn]:
    """Batches of so many events to one stream."""
    stream, versions = uuid4(), count(1)

    def append(number: int) -> None:
        recorder.insert_events([stored_event(stream, next(versions)) for _ in range(events)])

    async def turn() -> Sample:
        return await asyncio.to_thread(repeat_in_thread, seconds, append, pieces=events)

    yield turn


@asynccontextmanager
async def stream_reads(recorder: ApplicationRecorder, *, events: int, seconds: float) -> AsyncIterator[Turn]:
    """Read a stream; the state stays bytes."""
    stream = uuid4()
    recorder.insert_events([stored_event(stream, version) for version in range(1, events + 1)])

    def read(number: int) -> None:
        assert len(recorder.select_events(stream)) == events

    async def turn() -> Sample:
        return await asyncio.to_thread(repeat_in_thread, seconds, read, pieces=events)

    yield turn


@asynccontextmanager
async def scans(recorder: ApplicationRecorder, *, events: int) -> AsyncIterator[Turn]:
    """Read the whole log in pages of 500; the states stay bytes."""
    for _ in range(events // 1000):
        stream = uuid4()
        recorder.insert_events([stored_event(stream, version) for version in range(1, 1001)])

    def scan(number: int) -> None:
        found, last = 0, None
        while page := recorder.select_notifications(last, PAGE, inclusive_of_start=False):
            found, last = found + len(page), page[-1].id
        assert found == events

    async def turn() -> Sample:
        return await asyncio.to_thread(repeat_in_thread, 0, scan, pieces=events)

    yield turn

"""What the tests of restoring do beside the store: events as another store recorded them, and a backend by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from eventstore import NO_STREAM, EventStore, RecordedEvent
from eventstore.backend import Direction, EncodedEvent, RestoredEvent
from eventstore.events import stream_type_of
from eventstore_postgres import PostgresBackend, open_backend
from tests.postgres.driving import event

THEN: Final = datetime(2019, 7, 31, 23, 59, 59, 999_999, tzinfo=UTC)
"""When an event was recorded, long ago."""


def restored(
    stream_id: str,
    version: int = 1,
    created_at: datetime = THEN,
    *,
    event_id: UUID | None = None,
    event_type: str = "Ordered",
) -> RestoredEvent:
    event = EncodedEvent(event_id or uuid4(), event_type, b'{"n":1}', b'{"by":"me"}')
    return RestoredEvent(stream_id, stream_type_of(stream_id), version, event, created_at)


def stream_of(stream_id: str, versions: Iterable[int]) -> list[RestoredEvent]:
    """Return a stream's events, a second apart."""
    return [restored(stream_id, version, THEN + timedelta(seconds=version)) for version in versions]


async def emptied(store: EventStore, stream_id: str, version: int) -> None:
    """Let a stream have had so many events, all of them truncated; none at all if it is 0."""
    if version:
        await store.append(stream_id, [event() for _ in range(version)], expected_version=NO_STREAM)
        await store.truncate_stream(stream_id, version + 1)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresBackend]:
    """Open a backend by itself, so that nothing is tried again."""
    backend = open_backend(url)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def backend_of(store: EventStore) -> PostgresBackend:
    assert isinstance(store._backend, PostgresBackend)
    return store._backend


async def log_of(backend: PostgresBackend) -> list[RecordedEvent]:
    return (await backend.read_all(None, 10_000, Direction.FORWARD, None)).events


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port

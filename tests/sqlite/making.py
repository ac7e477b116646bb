"""Events and what is stored of them, for the tests of this folder; and programs that run on their own."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from eventstore import Filter, NewEvent
from eventstore.backend import EncodedEvent, RestoredEvent
from eventstore.events import stream_type_of
from eventstore.operations import Operations
from eventstore.store import EventStore
from eventstore_sqlite import SqliteBackend

PROJECT = Path(__file__).parents[2]
LONG_AGO = datetime(2019, 5, 4, 12, 30, 15, 123457, UTC)


def event(number: int = 0) -> NewEvent:
    return NewEvent("Counted", {"number": number})


def events(number: int) -> list[NewEvent]:
    return [event(index) for index in range(number)]


async def versions(store: Operations, stream_id: str) -> list[int]:
    return [event.version async for event in store.read_stream(stream_id)]


async def positions(store: EventStore, filter: Filter | None = None) -> list[int]:
    return [event.global_position async for event in store.read_all(filter=filter)]


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def content_of_tables(path: Path) -> list[str]:
    """Return all that a file holds, the counter of positions as well."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def backend_of(store: EventStore) -> SqliteBackend:
    assert isinstance(store._backend, SqliteBackend)
    return store._backend


def overwrite(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def file_names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def start_python(program: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start a program in a process of its own that can import the project."""
    return await start_interpreter("-c", program, *arguments)


async def start_interpreter(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run_python(program: str, *arguments: str) -> str:
    """Run a program; return what it printed."""
    return await finished(await start_python(program, *arguments))


async def run_module(module: str, *arguments: str) -> str:
    """Run a module of the tests as a program; return what it printed."""
    return await finished(await start_interpreter("-m", module, *arguments))


async def finished(process: asyncio.subprocess.Process) -> str:
    try:
        async with asyncio.timeout(60):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    return output.decode()


def recorded_elsewhere(
    stream_id: str, version: int, *, second: int = 0, event_id: UUID | None = None, data: bytes = b"{}"
) -> RestoredEvent:
    """Return an event as another store recorded it, so many seconds after `LONG_AGO`."""
    encoded = EncodedEvent(event_id or uuid4(), "Counted", data, b"{}")
    return RestoredEvent(stream_id, stream_type_of(stream_id), version, encoded, LONG_AGO + timedelta(seconds=second))


def stream_elsewhere(stream_id: str, length: int) -> list[RestoredEvent]:
    return [recorded_elsewhere(stream_id, version, second=version) for version in range(1, length + 1)]

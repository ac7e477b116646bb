"""Events and what is stored of them, for the tests of this folder; and programs that run on their own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from eventstore import Filter, NewEvent
from eventstore.operations import Operations
from eventstore.store import EventStore

PROJECT = Path(__file__).parents[2]


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

"""The textbook: look for the last version, compare, and insert row by row, in a transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import uuid4

from benchmarks.events import TEXT
from benchmarks.floors import INSERT, TABLE, connect
from benchmarks.measuring import Turn, repeat

VERSION: Final = "SELECT max(version) FROM floor WHERE stream_id = %s"


@asynccontextmanager
async def appends(url: str, *, connections: int, seconds: float) -> AsyncIterator[Turn]:
    """Single-event appends to new streams, each a transaction, on so many connections with a task each."""
    text = TEXT.decode()
    async with AsyncExitStack() as stack:
        open_ones = [await stack.enter_async_context(await connect(url)) for _ in range(connections)]
        await open_ones[0].execute(TABLE)

        async def append(task: int, number: int) -> None:
            stream_id, expected = uuid4().hex, 0
            async with open_ones[task].transaction():
                found = await (await open_ones[task].execute(VERSION, (stream_id,))).fetchone()
                if found != (expected or None,):
                    raise RuntimeError("wrong expected version")
                await open_ones[task].execute(INSERT, (stream_id, expected + 1, "OrderPlaced", text))

        yield lambda: repeat(seconds, connections, append)

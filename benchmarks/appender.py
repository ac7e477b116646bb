"""`python -m benchmarks.appender URL TASKS SECONDS`: appends for so long each time a line comes in; says how many."""

from __future__ import annotations

import asyncio
import sys

import eventstore
from benchmarks.running import appends


async def main(url: str, tasks: int, seconds: float) -> None:
    """Work until the input ends."""
    async with eventstore.open_store(url) as store, appends(store, tasks=tasks, seconds=seconds) as turn:
        while await asyncio.to_thread(sys.stdin.readline):
            sample = await turn()
            print(sample.done, sample.seconds, flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))

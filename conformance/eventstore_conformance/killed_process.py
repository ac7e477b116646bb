"""A process that writes to a store and is killed in the middle; run by `python -m` with what it does and a URL."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from types import TracebackType
from typing import Final, Self

from eventstore import NO_STREAM, NewEvent, open_store

WRITES: Final = 10
"""How many appends a test waits for before it kills the process."""

PATIENCE: Final = 60.0
"""Seconds that a process is given to start and to write."""


class KilledProcess:
    """A process that runs `appends` or a `transaction`, and is killed on exit. It prints what it has done."""

    def __init__(self, work: str, url: str) -> None:
        self.command = (sys.executable, "-m", __name__, work, url)

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(*self.command, stdout=PIPE, stderr=PIPE)
        return self

    async def lines(self, count: int) -> list[str]:
        """Return so many lines that it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            lines = [(await self.process.stdout.readline()).decode().strip() for _ in range(count)]
        if not all(lines):
            _, said = await self.process.communicate()
            raise AssertionError(f"the process ended by itself: {said.decode()}")
        return lines

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


async def appends(url: str) -> None:
    """Append batches of three for ever, and print the first id of each once it is acknowledged."""
    async with open_store(url) as store:
        version = 0
        while True:
            batch = [NewEvent("Happened", {"n": n}) for n in range(3)]
            recorded = await store.append("killed-1", batch, expected_version=version)
            version = recorded[-1].version
            print(batch[0].event_id, flush=True)  # noqa: T201


async def transaction(url: str) -> None:
    """Append in a transaction that never ends."""
    async with open_store(url) as store, store.transaction() as tx:
        await tx.append("killed-1", [NewEvent("Happened", {})], expected_version=NO_STREAM)
        print("appended", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run({"appends": appends, "transaction": transaction}[sys.argv[1]](sys.argv[2]))

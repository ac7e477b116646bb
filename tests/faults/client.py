"""A client in a process of its own: `python -m tests.faults.client URL JOURNAL SEED RETRY_TIMEOUT`.

It writes down what it does. Its workers append, follow the log by reading and by subscribing, and move a checkpoint
that all clients share, until its standard input ends. Then its followers go on to the end of the log. What faults may
bring is part of the work; anything else that is raised ends the process with a traceback.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from eventstore import (
    CheckpointConflict,
    DuplicateEventId,
    EventStore,
    RecordedEvent,
    StorageError,
    StoreReadOnly,
    StoreUnavailable,
    StreamWrite,
    WrongExpectedVersion,
    open_store,
)
from eventstore_conformance.recording import Journal, RecordingStore
from eventstore_conformance.workload import Appender

APPENDERS: Final = 2
CHECKPOINT: Final = "shared"
FAULTS: Final = (StoreUnavailable, StoreReadOnly, StorageError)
_PAUSE: Final = 0.02
"""Seconds that a worker waits after a fault, as a program would."""


async def main(url: str, path: Path, seed: str, retry_timeout: float) -> None:
    """Run the workers, and tell when they begin."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_await_end_of_input, args=(loop, stopped), daemon=True).start()
    with Journal(path) as journal:
        async with open_store(url, retry_timeout=retry_timeout) as store:
            sys.stdout.write("running\n")
            sys.stdout.flush()
            await Client(store, journal, seed, stopped).run()


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    sys.stdin.read()
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stopped.set)


class Client:
    """The workers of one process, on one store."""

    def __init__(self, store: EventStore, journal: Journal, seed: str, stopped: asyncio.Event) -> None:
        self._store = store
        self._journal = journal
        self._seed = seed
        self._stopped = stopped
        self._sent: list[Sequence[StreamWrite]] = []
        self._bookmarks = {"reader": 0, "subscriber": 0}

    async def run(self) -> None:
        """Work until told to stop, and then to the end of the log."""
        async with asyncio.TaskGroup() as tasks:
            followers = [
                tasks.create_task(self._follow("reader", self._worker("reader").read_all)),
                tasks.create_task(self._follow("subscriber", self._worker("subscriber").subscribe)),
            ]
            async with asyncio.TaskGroup() as workers:
                for number in range(APPENDERS):
                    workers.create_task(self._append(number))
                workers.create_task(self._share())
            end = await _until_it_works(self._store.head)
            while min(self._bookmarks.values()) < end:  # noqa: ASYNC110 - bounded by whoever started the process
                await asyncio.sleep(_PAUSE)
            for follower in followers:
                follower.cancel()

    def _worker(self, name: str) -> RecordingStore:
        return RecordingStore(self._store, self._journal, worker=f"{name} of {self._seed}")

    async def _append(self, number: int) -> None:
        seed = f"{self._seed}/{number}"
        appender = Appender(self._worker(f"appender {number}"), seed, self._sent, cancelling=False)
        chance = random.Random(seed)
        while not self._stopped.is_set():
            try:
                writes = await appender.next_writes()
                await appender.send(writes)
            except (WrongExpectedVersion, DuplicateEventId):
                continue
            except FAULTS:
                await asyncio.sleep(_PAUSE)
                # As a program would that wants to know: the same ids again, sooner or later.
                if chance.random() < 0.5:
                    with suppress(WrongExpectedVersion, DuplicateEventId, *FAULTS):
                        await appender.send(self._sent[-1])

    async def _share(self) -> None:
        """Work through the log a few events at a time, sharing a checkpoint with others who do the same."""
        store = self._worker("sharer")
        while not self._stopped.is_set():
            try:
                expected = position = await store.load_checkpoint(CHECKPOINT)
                async for event in self._store.read_all(after=expected, limit=5):
                    position = event.global_position
                with suppress(CheckpointConflict):
                    await store.save_checkpoint(CHECKPOINT, position, expected=expected)
            except FAULTS:
                await asyncio.sleep(_PAUSE)

    async def _follow(self, name: str, read: Callable[..., AsyncIterator[RecordedEvent]]) -> None:
        """Read on from a bookmark, for ever."""
        while True:
            with suppress(*FAULTS):
                async for event in read(after=self._bookmarks[name]):
                    self._bookmarks[name] = event.global_position
            await asyncio.sleep(_PAUSE)


async def _until_it_works(call: Callable[[], Awaitable[int]]) -> int:
    while True:
        with suppress(*FAULTS):
            return await call()
        await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])))

"""A worker in a process of its own: `python -m tests.consumers.worker URL MODE FILE [LEASE]`.

It writes what it has handled to a file, a line for each event, or to a table in the transaction of its position. The
files of all workers are opened for appending, so that each line is whole.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from eventstore import (
    ConsumerReplaced,
    Filter,
    OnError,
    RecordedEvent,
    Retry,
    StoreTransaction,
    open_store,
)
from eventstore.handlers import Handler

BATCH = 20
PARTITIONS = 2


async def main(url: str, mode: str, path: Path, lease: str = "0.5") -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(event: RecordedEvent) -> None:
        os.write(file, f"{event.global_position} {os.getpid()}\n".encode())

    async def once_or_more(event: RecordedEvent) -> None:
        write(event)
        await asyncio.sleep(0.001)

    async def batches(events: list[RecordedEvent]) -> None:
        for event in events:
            write(event)
            await asyncio.sleep(0.001)

    async def exactly_once(event: RecordedEvent, tx: StoreTransaction) -> None:
        placeholder = "?" if url.startswith("sqlite") else "%s"
        await tx.connection.execute(f"INSERT INTO handled VALUES ({placeholder})", (event.global_position,))
        write(event)

    async def poisoned(event: RecordedEvent) -> None:
        write(event)
        if event.data.get("poison"):
            os._exit(9)

    handlers: dict[str, Handler] = {
        "once or more": once_or_more,
        "batches": batches,
        "exactly once": exactly_once,
        "poisoned": poisoned,
    }
    async with open_store(url, retry_timeout=2) as store:
        consumer = store.consumer(
            "reader",
            handlers[mode],
            filter=Filter(stream_types=["log"]),
            batch_size=BATCH,
            partitions=PARTITIONS,
            on_error=OnError.PARK,
            retry=Retry(attempts=2, first_wait=0.01),
            lease=float(lease),
        )
        sys.stdout.write("running\n")
        sys.stdout.flush()
        with suppress(ConsumerReplaced):
            await consumer.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:]))

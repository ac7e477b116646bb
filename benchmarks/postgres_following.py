"""P7 and P9: following the log in Postgres while others append."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from statistics import median

import psycopg

import eventstore
from benchmarks.events import DATA, an_event
from benchmarks.measuring import Fact, Result, Sample
from benchmarks.running import Bench
from benchmarks.servers import a_database
from eventstore import NO_STREAM, EventStore, NewEvent, RecordedEvent

WRITERS = 32


async def p7_latency(bench: Bench) -> Result:
    """Appended in one process, a handler called in another: how long that takes when nothing else goes on."""
    number = 200 if bench.pace.rounds > 3 else 40
    async with a_database(bench.server) as url, eventstore.open_store(url) as store:
        delays: list[float] = []
        enough = asyncio.Event()

        async def handle(event: eventstore.RecordedEvent) -> None:
            delays.append(time.monotonic() - event.data["sent"])
            if len(delays) >= number:
                enough.set()

        consumer = asyncio.create_task(store.consumer("latency", handle).run())
        # The clock is one for all processes of a machine.
        command = [sys.executable, "-m", "benchmarks.postgres_following", url, str(number)]
        process = await asyncio.create_subprocess_exec(*command)
        await enough.wait()
        await process.wait()
        consumer.cancel()
        await asyncio.wait([consumer])
    result = Result("P7", "Postgres: from append to handler, another process", "handled/s")
    result.samples["ours"] = [Sample(number, sum(delays), delays)]
    result.facts += [
        Fact("median", median(delays) * 1000, "ms", most=5.0),
        Fact("99th percentile", result.samples["ours"][0].percentile(99) * 1000, "ms"),
        # A poll where a push was missed would show as the length of its interval.
        Fact("longest", max(delays) * 1000, "ms", most=500),
    ]
    return result


async def append_now_and_then(url: str, number: int) -> None:
    """Append events that say when they were sent, with pauses."""
    async with eventstore.open_store(url) as store:
        for count in range(number):
            await asyncio.sleep(0.02)
            event = NewEvent("Sent", DATA | {"sent": time.monotonic()})
            await store.append(f"sent-{count}", [event], expected_version=NO_STREAM)


async def p9_under_load(bench: Bench) -> Result:
    """Follow the log while 32 writers append, some slowly, some rolling back, without and with a long transaction."""
    result = Result("P9", "Postgres: follow 32 writers, some slow, some rolling back", "events/s")
    for name in ("ours", "beside a long transaction"):
        async with (
            a_database(bench.server) as url,
            eventstore.open_store(url, pool_max=WRITERS + 4) as store,
            _long_transaction(url, is_there=name != "ours"),
        ):
            sample, missed, doubled = await _follow(store, url, seconds=4 * bench.pace.seconds)
        result.samples[name] = [sample]
        result.facts += [
            Fact(f"{name}: missed", missed, "events", most=0),
            Fact(f"{name}: doubled or out of order", doubled, "events", most=0),
            Fact(f"{name}: delay, median", median(sample.latencies) * 1000, "ms"),
            Fact(f"{name}: delay, 99th percentile", sample.percentile(99) * 1000, "ms"),
        ]
    return result


@asynccontextmanager
async def _long_transaction(url: str, *, is_there: bool) -> AsyncIterator[None]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        if is_there:
            await connection.execute("CREATE TABLE unrelated (id INT)")
            await connection.execute("INSERT INTO unrelated VALUES (1)")
        yield
        await connection.rollback()


async def _follow(store: EventStore, url: str, *, seconds: float) -> tuple[Sample, int, int]:
    """Return what the follower saw and how late, how many it missed, and how many came twice or in a wrong order."""
    acknowledged: dict[int, float] = {}
    seen: dict[int, float] = {}
    out_of_order = 0
    begin = time.perf_counter()

    async with eventstore.open_store(url) as reading:

        async def follow() -> None:
            nonlocal out_of_order
            last = 0
            async for event in reading.subscribe():
                out_of_order += event.global_position <= last
                last = event.global_position
                seen[last] = time.perf_counter()

        follower = asyncio.create_task(follow())
        await asyncio.gather(*(_write(store, writer, begin + seconds, acknowledged) for writer in range(WRITERS)))
        taken = time.perf_counter() - begin
        patience = time.perf_counter() + 5
        while len(seen) < len(acknowledged) and time.perf_counter() < patience:
            await asyncio.sleep(0.01)
        follower.cancel()
        await asyncio.wait([follower])
    delays = [max(0.0, seen[position] - at) for position, at in acknowledged.items() if position in seen]
    return Sample(len(seen), taken, delays), len(acknowledged.keys() - seen.keys()), out_of_order


async def _write(store: EventStore, writer: int, end: float, acknowledged: dict[int, float]) -> None:
    """Append until the end: every eighth writer holds its transactions open a while, every eighth rolls back."""
    random = Random(writer)
    number = 0
    while time.perf_counter() < end:
        number += 1
        stream_id = f"writer-{writer}-{number}"
        recorded: list[RecordedEvent] = []
        if writer % 8 > 1:
            recorded = await store.append(stream_id, [an_event()], expected_version=NO_STREAM)
        else:
            with suppress(_ChangedMind):
                recorded = await _append_slowly(store, stream_id, random.random() * 0.02, keep=writer % 8 == 0)
        now = time.perf_counter()
        acknowledged.update((event.global_position, now) for event in recorded)


class _ChangedMind(Exception):
    """Rolls a transaction back."""


async def _append_slowly(store: EventStore, stream_id: str, seconds: float, *, keep: bool) -> list[RecordedEvent]:
    async with store.transaction() as tx:
        recorded = await tx.append(stream_id, [an_event()], expected_version=NO_STREAM)
        await asyncio.sleep(seconds)
        if not keep:
            raise _ChangedMind
    return recorded


if __name__ == "__main__":
    asyncio.run(append_now_and_then(sys.argv[1], int(sys.argv[2])))

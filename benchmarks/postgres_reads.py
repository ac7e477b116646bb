"""P5 and P6: reading from Postgres."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

from benchmarks import eventsourcing_peer, floors
from benchmarks.events import an_event
from benchmarks.measuring import Contestant, Fact, Mark, Result, Turn, race, repeat
from benchmarks.running import Bench, a_store, fill, scan_once
from benchmarks.servers import a_database
from eventstore import EventStore, Filter

LENGTH = 100


async def p5_stream(bench: Bench) -> Result:
    """Read a stream of 100 events."""
    seconds = bench.pace.seconds
    async with a_database(bench.server) as url, a_store(bench) as store:
        with eventsourcing_peer.postgres_recorder(url) as recorder:
            contestants: dict[str, Contestant] = {
                "ours": partial(stream_reads, store, seconds=seconds),
                "floor": partial(floors.stream_reads, url, events=LENGTH, seconds=seconds),
                "eventsourcing": partial(eventsourcing_peer.stream_reads, recorder, events=LENGTH, seconds=seconds),
            }
            marks = [Mark("floor", 0.8), Mark("eventsourcing", 1.0)]
            result = Result("P5", "Postgres: read a stream of 100", "events/s", marks=marks)
            return await race(result, contestants, bench.pace.rounds)


@asynccontextmanager
async def stream_reads(store: EventStore, *, seconds: float) -> AsyncIterator[Turn]:
    """Ours: read a stream of 100 events."""
    stream_id = f"order-{uuid4()}"
    await store.append(stream_id, [an_event() for _ in range(LENGTH)], expected_version=0)

    async def read(task: int, number: int) -> None:
        assert len([event async for event in store.read_stream(stream_id)]) == LENGTH

    yield lambda: repeat(seconds, 1, read, pieces=LENGTH)


async def p6_log(bench: Bench) -> Result:
    """`read_all` over the whole log, plain and through a filter that keeps 1 %."""
    events = bench.pace.events
    async with a_database(bench.server) as url, a_store(bench) as store:
        with eventsourcing_peer.postgres_recorder(url) as recorder:
            await fill(store, events)
            async with store.transaction() as tx:
                await tx.connection.execute("ANALYZE events")
            contestants: dict[str, Contestant] = {
                "ours": partial(scans, store, events=events),
                "ours, filtered": partial(filtered_scans, store, events=events),
                "floor": partial(floors.scans, url, events=events),
                "eventsourcing": partial(eventsourcing_peer.scans, recorder, events=events),
            }
            marks = [
                Mark("floor", 0.8),
                Mark("eventsourcing", 1.0),
                Mark("ours", 5.0, ours="ours, filtered"),
            ]
            result = Result("P6", f"Postgres: read_all of {events:,}, and 1 % of it", "events/s", marks=marks)
            await race(result, contestants, min(3, bench.pace.rounds))
            before = _peak_memory()
            async with scans(store, events=events) as scan:
                await scan()
            grown = (_peak_memory() - before) / 1024
            result.facts.append(Fact("memory, another scan", grown, "MiB more at most", most=16))
            return result


@asynccontextmanager
async def scans(store: EventStore, *, events: int) -> AsyncIterator[Turn]:
    """Ours: read the whole log."""

    async def read() -> int:
        found = 0
        async for _ in store.read_all():
            found += 1
        return found

    yield lambda: scan_once(read, events)


@asynccontextmanager
async def filtered_scans(store: EventStore, *, events: int) -> AsyncIterator[Turn]:
    """Ours: read what a filter keeps, which is 1 %; counted are the events that it has passed."""
    rare = Filter(event_types=["OrderLost"])

    async def read() -> int:
        found = 0
        async for _ in store.read_all(filter=rare):
            found += 1
        return found * 100

    yield lambda: scan_once(read, events)


def _peak_memory() -> int:
    """Return the most memory that this process ever held, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

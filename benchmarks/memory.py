"""M1: the store in memory, with all its checks on."""

from __future__ import annotations

from functools import partial

import eventstore
from benchmarks import eventsourcing_peer, floors
from benchmarks.measuring import Contestant, Mark, Result, race
from benchmarks.postgres_reads import LENGTH, stream_reads
from benchmarks.running import Bench, appends


async def m1_appends(bench: Bench) -> Result:
    """Single appends to new streams."""
    seconds = bench.pace.seconds
    with eventsourcing_peer.memory_recorder() as recorder:
        async with eventstore.open_store("memory://") as store:
            contestants: dict[str, Contestant] = {
                "ours": partial(appends, store, tasks=1, seconds=seconds),
                "dict of lists": partial(floors.dict_appends, seconds=seconds),
                "eventsourcing": partial(eventsourcing_peer.appends, recorder, threads=1, seconds=seconds),
            }
            result = Result("M1", "memory: single appends", "appends/s", marks=[Mark("eventsourcing", 1.0)])
            return await race(result, contestants, bench.pace.rounds)


async def m1_reads(bench: Bench) -> Result:
    """Read a stream of 100 events."""
    seconds = bench.pace.seconds
    with eventsourcing_peer.memory_recorder() as recorder:
        async with eventstore.open_store("memory://") as store:
            contestants: dict[str, Contestant] = {
                "ours": partial(stream_reads, store, seconds=seconds),
                "eventsourcing": partial(eventsourcing_peer.stream_reads, recorder, events=LENGTH, seconds=seconds),
            }
            result = Result("M1r", "memory: read a stream of 100", "events/s", marks=[Mark("eventsourcing", 1.0)])
            return await race(result, contestants, bench.pace.rounds)

"""S1 to S3: the SQLite backend."""

from __future__ import annotations

from functools import partial

import eventstore
from benchmarks import eventsourcing_peer, floors
from benchmarks.measuring import Contestant, Mark, Result, race
from benchmarks.postgres_reads import scans
from benchmarks.running import Bench, appends, fill

TASKS = 64


async def s1_one_task(bench: Bench) -> Result:
    """One task, single appends."""
    seconds = bench.pace.seconds
    async with eventstore.open_store(f"sqlite:///{bench.file()}") as store:
        contestants: dict[str, Contestant] = {
            "ours": partial(appends, store, tasks=1, seconds=seconds),
            "aiosqlite": partial(floors.aiosqlite_inserts, bench.file(), seconds=seconds),
            "sqlite3": partial(floors.sqlite_inserts, bench.file(), seconds=seconds),
        }
        result = Result("S1", "SQLite: one task, single appends", "appends/s", marks=[Mark("aiosqlite", 0.75)])
        return await race(result, contestants, bench.pace.rounds)


async def s2_many_tasks(bench: Bench) -> Result:
    """64 tasks, single appends."""
    seconds = bench.pace.seconds
    with eventsourcing_peer.sqlite_recorder(bench.file()) as recorder:
        async with eventstore.open_store(f"sqlite:///{bench.file()}") as store:
            contestants: dict[str, Contestant] = {
                "ours": partial(appends, store, tasks=TASKS, seconds=seconds),
                "sqlite3": partial(floors.sqlite_inserts, bench.file(), seconds=seconds),
                "eventsourcing": partial(eventsourcing_peer.appends, recorder, threads=1, seconds=seconds),
            }
            marks = [Mark("sqlite3", 5.0), Mark("eventsourcing", 5.0)]
            result = Result("S2", "SQLite: 64 tasks, single appends", "appends/s", marks=marks)
            return await race(result, contestants, bench.pace.rounds)


async def s3_log(bench: Bench) -> Result:
    """`read_all` of the whole log."""
    events = bench.pace.events // 2
    async with eventstore.open_store(f"sqlite:///{bench.file()}") as store:
        await fill(store, events)
        contestants: dict[str, Contestant] = {
            "ours": partial(scans, store, events=events),
            "sqlite3": partial(floors.sqlite_scans, bench.file(), events=events),
        }
        result = Result("S3", f"SQLite: read_all of {events:,}", "events/s", marks=[Mark("sqlite3", 0.5)])
        return await race(result, contestants, min(3, bench.pace.rounds))

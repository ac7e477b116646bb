"""P1 to P4 and P10: appending to Postgres."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from uuid import uuid4

import eventstore
from benchmarks import emmett_peer, eventsourcing_peer, floors, message_db_peer, pgbench, textbook
from benchmarks.events import TEXT, an_event
from benchmarks.measuring import Contestant, Mark, Result, Sample, Turn, race, repeat, together
from benchmarks.running import Bench, a_store, appends
from benchmarks.servers import a_database

TASKS = 64
CONNECTIONS = 16
SUBSCRIBERS = 4
BATCH = 100


async def p1_one_task(bench: Bench) -> Result:
    """One task, single-event appends to new streams, exact expected version."""
    seconds = bench.pace.seconds
    async with a_database(bench.server) as url, a_store(bench) as store:
        with eventsourcing_peer.postgres_recorder(url) as recorder:
            contestants: dict[str, Contestant] = {
                "ours": partial(appends, store, tasks=1, seconds=seconds),
                "floor": partial(floors.inserts, url, connections=1, seconds=seconds),
                "textbook": partial(textbook.appends, url, connections=1, seconds=seconds),
                "eventsourcing": partial(eventsourcing_peer.appends, recorder, threads=1, seconds=seconds),
                "message-db": partial(message_db_peer.appends, bench.server, connections=1, seconds=seconds),
                "Emmett": partial(emmett_peer.appends, url, tasks=1, seconds=seconds),
            }
            marks = [Mark("floor", 0.8), Mark("eventsourcing", 1.0), Mark("textbook", 1.7)]
            result = Result("P1", "Postgres: one task, single appends", "appends/s", marks=marks)
            return await race(result, contestants, bench.pace.rounds)


async def p2_many_tasks(bench: Bench) -> Result:
    """64 tasks in one process, single-event appends, exact expected version."""
    async with a_database(bench.server) as url, a_store(bench) as store:
        with eventsourcing_peer.postgres_recorder(url, connections=CONNECTIONS) as recorder:
            marks = [
                Mark("floor, 16 connections", 1.3),
                Mark("best eventsourcing", 3.5),
                Mark("pgbench, 16 clients", 1.0),
                Mark("floor, 64 tasks on 16", most_p99=1.0),
            ]
            result = Result("P2", "Postgres: 64 tasks, single appends", "appends/s", marks=marks)
            seconds = bench.pace.seconds
            peer = partial(eventsourcing_peer.appends, recorder, seconds=seconds)
            peers = {f"eventsourcing, {number} threads": partial(peer, threads=number) for number in (1, 8, 16)}
            contestants: dict[str, Contestant] = {
                "ours": partial(appends, store, tasks=TASKS, seconds=seconds),
                "floor, 16 connections": partial(floors.inserts, url, connections=CONNECTIONS, seconds=seconds),
                "floor, 64 tasks on 16": partial(
                    floors.inserts_through_a_pool, url, connections=CONNECTIONS, tasks=TASKS, seconds=seconds
                ),
                "pgbench, 16 clients": partial(
                    pgbench.inserts, bench.server, url, clients=CONNECTIONS, seconds=seconds
                ),
                "textbook": partial(textbook.appends, url, connections=CONNECTIONS, seconds=seconds),
                **peers,
                "message-db, a category each": partial(
                    message_db_peer.appends, bench.server, connections=CONNECTIONS, seconds=seconds
                ),
                "Emmett": partial(emmett_peer.appends, url, tasks=TASKS, seconds=seconds),
                "message-db, one category": partial(
                    message_db_peer.appends, bench.server, connections=CONNECTIONS, seconds=seconds, one_category=True
                ),
            }
            await race(result, contestants, bench.pace.rounds)
            there = [name for name in peers if name in result.samples]
            if there:
                best = max(there, key=result.rate)
                result.samples["best eventsourcing"] = result.samples[best]
            return result


async def p3_with_subscribers(bench: Bench) -> Result:
    """The same with four subscribers attached and live."""
    async with a_store(bench) as store, a_store(bench) as followed, AsyncExitStack() as stack:
        for _ in range(SUBSCRIBERS):
            await stack.enter_async_context(_follower(followed))
        seconds = bench.pace.seconds
        contestants: dict[str, Contestant] = {
            "ours": partial(appends, followed, tasks=TASKS, seconds=seconds),
            "without subscribers": partial(appends, store, tasks=TASKS, seconds=seconds),
        }
        result = Result("P3", "Postgres: P2 with 4 subscribers", "appends/s", marks=[Mark("without subscribers", 0.8)])
        return await race(result, contestants, bench.pace.rounds)


@asynccontextmanager
async def _follower(store: eventstore.EventStore) -> AsyncIterator[None]:
    async def follow() -> None:
        async for _ in store.subscribe(after=0):
            pass

    task = asyncio.create_task(follow())
    yield
    task.cancel()
    await asyncio.wait([task])


async def p4_batches(bench: Bench) -> Result:
    """Batches of 100 to one stream."""
    seconds = bench.pace.seconds
    async with a_database(bench.server) as url, a_store(bench) as store:
        with eventsourcing_peer.postgres_recorder(url) as recorder:
            contestants: dict[str, Contestant] = {
                "ours": partial(_batches, store, seconds=seconds),
                "floor": partial(floors.inserts_of_many, url, rows=BATCH, seconds=seconds),
                "eventsourcing": partial(eventsourcing_peer.batches, recorder, events=BATCH, seconds=seconds),
            }
            marks = [Mark("floor", 0.8), Mark("eventsourcing", 1.2)]
            result = Result("P4", "Postgres: batches of 100 to one stream", "events/s", marks=marks)
            return await race(result, contestants, bench.pace.rounds)


@asynccontextmanager
async def _batches(store: eventstore.EventStore, *, seconds: float) -> AsyncIterator[Turn]:
    stream_id = f"order-{uuid4()}"
    version = 0

    async def append(task: int, number: int) -> None:
        nonlocal version
        events = [an_event() for _ in range(BATCH)]
        version = (await store.append(stream_id, events, expected_version=version))[-1].version

    yield lambda: repeat(seconds, 1, append, pieces=BATCH)


# --- Two processes, and a slow disk ----------------------------------------------------------------------------------


async def p10_two_processes(bench: Bench) -> Result:
    """P2 from two processes at once."""
    async with a_database(bench.server) as one, a_database(bench.server) as two:
        contestants: dict[str, Contestant] = {
            "ours": partial(_processes, one, 2, bench.pace.seconds),
            "one process": partial(_processes, two, 1, bench.pace.seconds),
        }
        result = Result("P10", "Postgres: P2 from two processes", "appends/s", marks=[Mark("one process", 1.0)])
        return await race(result, contestants, bench.pace.rounds)


async def p10_slow_disk(bench: Bench) -> Result:
    """P2 where each commit takes 2 ms longer, as on a slow disk."""
    slow = {"commit_delay": 2000, "commit_siblings": 0}
    async with a_database(bench.server, **slow) as url, eventstore.open_store(url) as store:
        seconds = bench.pace.seconds
        contestants: dict[str, Contestant] = {
            "ours": partial(appends, store, tasks=TASKS, seconds=seconds),
            "exclusive lock": partial(_locking_appends, url, connections=CONNECTIONS, seconds=seconds),
            "floor, 16 connections": partial(floors.inserts, url, connections=CONNECTIONS, seconds=seconds),
        }
        result = Result(
            "P10s", "Postgres: P2, commits take 2 ms more", "appends/s", marks=[Mark("exclusive lock", 10.0)]
        )
        return await race(result, contestants, bench.pace.rounds)


@asynccontextmanager
async def _locking_appends(url: str, *, connections: int, seconds: float) -> AsyncIterator[Turn]:
    """Appends that keep the log in order by an exclusive lock until they have committed."""
    insert = f"WITH locked AS (SELECT pg_advisory_xact_lock(1)) {floors.INSERT.replace('VALUES (', 'SELECT ')}"
    insert = insert.replace("jsonb)", "jsonb FROM locked")
    async with AsyncExitStack() as stack:
        open_ones = [await stack.enter_async_context(await floors.connect(url)) for _ in range(connections)]
        await open_ones[0].execute(floors.TABLE)

        async def append(task: int, number: int) -> None:
            values = (str(uuid4()), 1, "OrderPlaced", TEXT.decode())
            await open_ones[task].execute(insert.encode(), values)

        yield lambda: repeat(seconds, connections, append)


@asynccontextmanager
async def _processes(url: str, number: int, seconds: float) -> AsyncIterator[Turn]:
    """Let processes append at the same time; each begins when told by a line."""
    command = [sys.executable, "-m", "benchmarks.appender", url, str(TASKS), str(seconds)]
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(number)]

    async def work(process: asyncio.subprocess.Process) -> Sample:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"go\n")
        done, taken = (await process.stdout.readline()).split()
        return Sample(int(done), float(taken))

    async def turn() -> Sample:
        return together(await asyncio.gather(*map(work, processes)))

    yield turn
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()

"""Throughput and latency against the number of appends at a time, on Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from benchmarks import eventsourcing_peer, floors
from benchmarks.measuring import Contestant, Result, race
from benchmarks.postgres_appends import CONNECTIONS
from benchmarks.running import Bench, a_store, appends
from benchmarks.servers import a_database

TASKS: Final = (1, 2, 4, 8, 16, 32, 64, 128)


async def against_concurrency(bench: Bench) -> Mapping[int, Result]:
    """Return for each number of tasks what ours, the floor and the peer did."""
    results: dict[int, Result] = {}
    seconds = bench.pace.seconds / 2
    async with a_database(bench.server) as url, a_store(bench) as store:
        with eventsourcing_peer.postgres_recorder(url, connections=CONNECTIONS) as recorder:
            for tasks in TASKS:
                at_most = min(tasks, CONNECTIONS)
                contestants: dict[str, Contestant] = {
                    "ours": partial(appends, store, tasks=tasks, seconds=seconds),
                    "INSERTs on up to 16 connections": partial(
                        floors.inserts_through_a_pool, url, connections=at_most, tasks=tasks, seconds=seconds
                    ),
                }
                if tasks <= CONNECTIONS:
                    contestants["eventsourcing, threads"] = partial(
                        eventsourcing_peer.appends, recorder, threads=tasks, seconds=seconds
                    )
                result = Result("plot", f"{tasks} at a time", "appends/s")
                results[tasks] = await race(result, contestants, 2)
    return results

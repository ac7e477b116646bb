"""I1: what each index of the Postgres store costs a writer, in time and on the disk."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from psycopg import sql

from benchmarks.growth import fill_postgres
from benchmarks.measuring import Fact, Result
from benchmarks.running import Bench, a_store
from eventstore import EventStore

DROPS: Final = {
    "events_pkey": "ALTER TABLE events DROP CONSTRAINT events_pkey",
    "events_stream_id_version_key": "ALTER TABLE events DROP CONSTRAINT events_stream_id_version_key",
    "events_event_id_key": "ALTER TABLE events DROP CONSTRAINT events_event_id_key",
    "events_stream_type_position": "DROP INDEX events_stream_type_position",
    "events_event_type_position": "DROP INDEX events_event_type_position",
    "events_created_at": "DROP INDEX events_created_at",
}
EVENTS: Final = 10_000


async def i1_indexes(bench: Bench) -> Result:
    """Insert the same rows with all indexes and without each, in turn, in one statement: only the server works."""
    result = Result("I1", "Postgres: what each index costs a writer", "")
    taken: dict[str, list[float]] = {name: [] for name in ("none", *DROPS)}
    sizes: dict[str, float] = {}
    for _ in range(bench.pace.rounds):
        for dropped, times in taken.items():
            async with a_store(bench) as store:
                if dropped in DROPS:
                    async with store.transaction() as tx:
                        await tx.connection.execute(DROPS[dropped].encode())
                await fill_postgres(store, 1, EVENTS)
                begin = time.perf_counter()
                await fill_postgres(store, EVENTS + 1, 2 * EVENTS)
                times.append((time.perf_counter() - begin) / EVENTS * 1e6)
                if dropped == "none" and not sizes:
                    sizes = {name: await _size(store, name) for name in ("events", *DROPS)}
    whole = median(taken["none"])
    result.facts.append(Fact("an event, with all of them", whole, f"us, and {sizes['events']:.0f} bytes of table"))
    for name in DROPS:
        price = whole - median(taken[name])
        result.facts.append(Fact(name, price, f"us an event, and {sizes[name]:.0f} bytes"))
    return result


async def _size(store: EventStore, name: str) -> float:
    """Return how many bytes an event takes in a table or an index."""
    async with store.transaction() as tx:
        cursor = await tx.connection.execute(sql.SQL("SELECT pg_relation_size({})").format(name))
        ((size,),) = await cursor.fetchall()
    return float(size) / (2 * EVENTS)

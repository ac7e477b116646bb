"""Many writers at once, for the tests of the settled log: quick, slow, rolling back, restoring, on lines of their own.

Run as `python -m tests.postgres.settled_load URL SEED`, it appends and prints the ids of what was committed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress

import psycopg

from eventstore import ANY, EventStore, NewEvent, StoreTransaction, open_store
from eventstore.backend import Conflict
from tests.postgres.restoring.driving import backend_of, restored

WRITERS = 6
APPENDS = 40


class _RollBack(Exception):
    pass


async def write(url: str, seed: int) -> list[str]:
    """Append with several tasks and return the ids of the events that were committed."""
    async with open_store(url, pool_max=WRITERS) as store:
        writers = (_writer(store, url, number, random.Random(seed * 1000 + number)) for number in range(WRITERS))
        return [event_id for ids in await asyncio.gather(*writers) for event_id in ids]


async def _writer(store: EventStore, url: str, number: int, chance: random.Random) -> list[str]:
    committed: list[str] = []
    async with await psycopg.AsyncConnection.connect(url.partition("?")[0]) as own_connection:
        for _ in range(APPENDS):
            events = [NewEvent("Loaded", {}) for _ in range(chance.randint(1, 4))]
            # The pauses are the load's shape: how long a transaction with a position drawn stays open.
            pause = chance.choice([0, 0, 0.001, 0.01, 0.03])
            rolls_back = chance.random() < 0.2
            match chance.choice(["append", "restore", "transaction", "bind"]):
                case "append":
                    await store.append(f"load-{number}", events, expected_version=ANY)
                    rolls_back = False
                case "restore":
                    await _restore(store, f"load-restored-{chance.getrandbits(64)}", events)
                    rolls_back = False
                case "transaction":
                    with suppress(_RollBack):
                        async with store.transaction() as transaction:
                            await _append_slowly(transaction, number, events, pause, rolls_back=rolls_back)
                case "bind":
                    with suppress(_RollBack):
                        async with own_connection.transaction():
                            bound = store.bind(own_connection)
                            await _append_slowly(bound, number, events, pause, rolls_back=rolls_back)
            if not rolls_back:
                committed += [str(event.event_id) for event in events]
    return committed


async def _restore(store: EventStore, stream_id: str, events: list[NewEvent]) -> None:
    outcome = await backend_of(store).restore(
        [
            restored(stream_id, version, event_id=event.event_id, event_type="Loaded")
            for version, event in enumerate(events, 1)
        ]
    )
    if isinstance(outcome, Conflict):
        raise TypeError(f"nothing stands against {stream_id}, but the restore was refused: {outcome}")


async def _append_slowly(
    transaction: StoreTransaction, number: int, events: list[NewEvent], pause: float, *, rolls_back: bool
) -> None:
    await transaction.append(f"load-{number}", events, expected_version=ANY)
    await asyncio.sleep(pause)
    if rolls_back:
        raise _RollBack


if __name__ == "__main__":
    sys.stdout.write("\n".join(asyncio.run(write(sys.argv[1], int(sys.argv[2])))))

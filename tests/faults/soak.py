"""Random faults for as long as one likes: `python -m tests.faults.soak [--seconds 600] [--seed N]`.

In turns, clients work on a server of their own, a SQLite file, a primary with its standby, and a disk that fills up;
then what they wrote down is checked against the log. The status is 1 if anything was lost, doubled, half done, out of
order, or hung. The seed decides which faults come, in which order; what they hit is up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.faults.worlds import WORLDS, Place, World
from tests.postgres_server import PostgresServer, default_binaries

ROUND: Final = 12.0
"""Seconds of faults before all is checked."""

_AFTER_A_FAULT: Final = 2
"""How many appends each client has acknowledged before the next fault."""


class Soak:
    """What was done so far, and what came of it."""

    def __init__(self, seconds: float, seed: int) -> None:
        self._ends = time.monotonic() + seconds
        self._chance = random.Random(seed)
        self._faults: Counter[str] = Counter()
        self._appends: Counter[str] = Counter()
        self._events = 0
        self._failed: list[str] = []

    async def run(self) -> bool:
        """Go round and round; return whether all was well."""
        rounds = 0
        with PostgresServer(default_binaries(), fsync=True) as server:
            while time.monotonic() < self._ends and not self._failed:
                make = WORLDS[rounds % len(WORLDS)]
                folder = Path(tempfile.mkdtemp(prefix="eventstore-soak-"))
                try:
                    async with make(Place(server, folder, f"round{rounds}", self._chance)) as world:
                        await self._round(make.__name__, world)
                except (AssertionError, TimeoutError) as error:
                    self._failed.append(f"FAILED on {make.__name__}, histories in {folder}:\n{error!r}\n{error}")
                else:
                    shutil.rmtree(folder)
                rounds += 1
        say(f"\n{rounds} rounds, {self._events} events in their logs")
        say(f"faults: {in_words(self._faults)}")
        say(f"appends: {in_words(self._appends)}")
        say("\n".join(self._failed) or "verdict: no anomaly")
        return not self._failed

    async def _round(self, name: str, world: World) -> None:
        faults: Counter[str] = Counter()
        ends = min(self._ends, time.monotonic() + ROUND)
        while time.monotonic() < ends:
            await self._do(self._chance.choice(sorted(world.faults)), world, faults)
        if world.last in world.faults:
            await self._do(world.last, world, faults)
        await world.clients.until_acknowledged(_AFTER_A_FAULT)
        verdict = await world.clients.finish()
        say(f"{name.replace('_', ' ')}: {in_words(faults)}; {in_words(verdict.appends)}")
        self._faults += faults
        self._appends += verdict.appends
        self._events += verdict.events
        verdict.require_soundness()

    async def _do(self, fault: str, world: World, faults: Counter[str]) -> None:
        await world.clients.until_acknowledged(_AFTER_A_FAULT)
        faults[fault] += 1
        await world.faults[fault]()


def in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Read the arguments, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--seconds", type=float, default=600, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats the faults")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    say(f"seed {arguments.seed}, {arguments.seconds:g} seconds")
    return 0 if asyncio.run(Soak(arguments.seconds, arguments.seed).run()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""C1: how long it takes to import the library, and to open a store whose schema is there."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from statistics import median

import eventstore
from benchmarks.measuring import Contestant, Fact, Mark, Result, Sample, Turn, race
from benchmarks.running import Bench
from benchmarks.servers import a_database
from tests.postgres_server import PostgresServer

TIMED = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


async def c1_import(bench: Bench) -> Result:
    """`import eventstore`, beside what it is built on."""
    contestants: dict[str, Contestant] = {
        "ours": partial(_imports, "eventstore"),
        "asyncio and msgspec": partial(_imports, "asyncio, msgspec"),
    }
    # A third longer is two thirds of the rate.
    marks = [Mark("asyncio and msgspec", 1 / 1.5)]
    result = Result("C1", "import eventstore", "imports/s", marks=marks)
    return await race(result, contestants, 4 * bench.pace.rounds)


@asynccontextmanager
async def _imports(modules: str) -> AsyncIterator[Turn]:
    async def turn() -> Sample:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", TIMED.format(modules), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return Sample(1, float(output))

    yield turn


async def c1_open(bench: Bench) -> Result:
    """Open a store whose schema is there."""
    result = Result("C1", "open a store that is there", "opened/s")
    async with a_database(bench.server) as url:
        file = f"sqlite:///{bench.file()}"
        for name, store_url in (("Postgres", url), ("SQLite", file), ("memory", "memory://")):
            async with eventstore.open_store(store_url):
                pass
            taken: list[float] = []
            for _ in range(4 * bench.pace.rounds):
                begin = time.perf_counter()
                async with eventstore.open_store(store_url):
                    taken.append(time.perf_counter() - begin)
            result.samples[name] = [Sample(len(taken), sum(taken), taken)]
            result.facts.append(Fact(f"{name}: to open", median(taken) * 1000, "ms"))
        trips = await _round_trips(bench.server, url)
        result.facts.append(Fact("Postgres: round trips once connected", trips, "round trips", most=3))
    return result


async def _round_trips(server: PostgresServer, url: str) -> int:
    """Open a store through a relay that counts how often the client waits for an answer, connecting apart."""
    counter = _Counter(server.port)
    relay = await asyncio.start_server(counter.serve, "127.0.0.1", 0)
    port = relay.sockets[0].getsockname()[1]
    through = url.replace(f":{server.port}/", f":{port}/") + "?sslmode=disable&gssencmode=disable"
    async with eventstore.open_store(through):
        pass
    relay.close()
    # The pool connects by itself, in the background: `open` waits for the first connection only.
    return counter.trips[0] - 1


class _Counter:
    def __init__(self, port: int) -> None:
        self.trips: list[int] = []
        self._port = port

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.trips.append(0)
        await asyncio.gather(self._ask(len(self.trips) - 1, client, writer), self._answer(reader, answer))

    async def _ask(self, number: int, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await client.read(65536):
            # The last message says goodbye, and is not answered: X, and its length.
            self.trips[number] += chunk != b"X\0\0\0\4"
            writer.write(chunk)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            answer.write(chunk)
        answer.close()

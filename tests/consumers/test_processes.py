"""Workers in processes of their own, that are killed, frozen, and poisoned."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventstore import Consumer, EventStore, Filter, NewEvent, OnError, RecordedEvent, open_store
from tests.consumers.worker import BATCH, PARTITIONS

pytestmark = pytest.mark.asyncio

PROJECT = Path(__file__).parents[2]
EVENTS = 600


@asynccontextmanager
async def worker(url: str, mode: str, path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a worker, and kill it after the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.consumers.worker", url, mode, str(path)),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def handled(path: Path) -> list[int]:
    """Return the positions that were written down, in order."""
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def pids(path: Path) -> set[str]:
    return {line.split()[1] for line in path.read_text().splitlines()} if path.exists() else set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - other processes tell nobody
            await asyncio.sleep(0.01)


async def some_events(store: EventStore, number: int) -> list[int]:
    """Append to ten streams in turn; return the positions."""
    positions: list[int] = []
    for start in range(0, number, 10):
        for stream in range(10):
            (event,) = await store.append(f"log-{stream}", [NewEvent("Happened", {})], expected_version=start // 10)
            positions.append(event.global_position)
    return positions


async def nothing(event: RecordedEvent) -> None:
    """Do nothing."""


def onlooker(store: EventStore) -> Consumer:
    """The same consumer, to be looked at."""
    return store.consumer("reader", nothing, filter=Filter(stream_types=["log"]), partitions=PARTITIONS, lease=0.5)


async def until_done(store: EventStore) -> None:
    async with asyncio.timeout(60):
        await onlooker(store).wait_until(await store.head())


@pytest.mark.parametrize("mode", ["once or more", "batches"])
async def test_a_killed_worker_repeats_a_batch_at_most(store: EventStore, url: str, tmp_path: Path, mode: str) -> None:
    expected = await some_events(store, EVENTS)
    path, kills = tmp_path / "handled", 4
    for kill in range(1, kills + 1):
        async with worker(url, mode, path) as victim:
            await until(lambda kill=kill: len(handled(path)) >= kill * EVENTS // 8)  # type: ignore[misc]
            victim.send_signal(signal.SIGKILL)
    async with worker(url, mode, path):
        await until_done(store)
    counts = Counter(handled(path))
    assert sorted(counts) == expected, "none is left out"
    repeated = sum(count - 1 for count in counts.values())
    assert repeated <= kills * PARTITIONS * BATCH


async def test_a_killed_worker_in_a_transaction_repeats_nothing(store: EventStore, url: str, tmp_path: Path) -> None:
    async with store.transaction() as tx:
        await tx.connection.execute("CREATE TABLE handled (position BIGINT)")
    expected = await some_events(store, EVENTS)
    path = tmp_path / "handled"
    async with worker(url, "exactly once", path):
        for kill in range(1, 5):
            async with worker(url, "exactly once", path) as victim:
                await until(lambda kill=kill: len(handled(path)) >= kill * EVENTS // 8)  # type: ignore[misc]
                victim.send_signal(signal.SIGKILL)
    async with worker(url, "exactly once", path):
        await until_done(store)
    assert sorted(await in_table(store)) == expected


async def in_table(store: EventStore) -> list[int]:
    async with store.transaction() as tx:
        cursor = await tx.connection.execute("SELECT position FROM handled")
        return [row[0] for row in await cursor.fetchall()]


async def test_two_workers_share_the_work_and_take_over_from_each_other(
    store: EventStore, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "handled"
    async with worker(url, "once or more", path) as first, worker(url, "once or more", path):
        expected = await some_events(store, 100)
        async with asyncio.timeout(30):
            while len({p.worker for p in (await onlooker(store).status()).partitions} - {None}) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        expected += [
            (await store.append(f"log-{n % 10}", [NewEvent("Happened", {})], expected_version=10 + n // 10))[
                0
            ].global_position
            for n in range(200)
        ]
        await until_done(store)
        assert len(pids(path)) == 2
        first.send_signal(signal.SIGKILL)
        for n in range(50):
            await store.append(f"other{n}-1", [NewEvent("Ignored", {})], expected_version=0)
        expected += [
            (await store.append(f"log-{n}", [NewEvent("Happened", {})], expected_version=30))[0].global_position
            for n in range(10)
        ]
        await until_done(store)
    assert sorted(handled(path)) == expected, "nobody died with anything in hand"


async def test_a_worker_that_was_frozen_cannot_move_anything_back(postgres_url: str, tmp_path: Path) -> None:
    """SIGSTOP beyond its lease: another takes over; when it goes on, its saves fail.

    (A process that is frozen while it writes to a SQLite file keeps that locked: nobody else can write, or take over.)
    """
    path = tmp_path / "handled"
    async with open_store(postgres_url) as store, worker(postgres_url, "once or more", path) as frozen:
        expected = await some_events(store, 300)
        await until(lambda: len(handled(path)) >= 60)
        frozen.send_signal(signal.SIGSTOP)
        async with worker(postgres_url, "once or more", path):
            await until_done(store)
            reached = (await onlooker(store).status()).position
            frozen.send_signal(signal.SIGCONT)
            (last,) = await store.append("log-0", [NewEvent("Happened", {})], expected_version=30)
            await until_done(store)
            assert (await onlooker(store).status()).position >= reached
    counts = Counter(handled(path))
    assert sorted(counts) == [*expected, last.global_position]
    assert sum(counts.values()) - len(counts) <= PARTITIONS * BATCH


async def test_an_event_that_kills_its_process_is_parked(store: EventStore, url: str, tmp_path: Path) -> None:
    (before,) = await store.append("log-1", [NewEvent("Happened", {})], expected_version=0)
    (poison,) = await store.append("log-1", [NewEvent("Happened", {"poison": True})], expected_version=1)
    (after,) = await store.append("log-1", [NewEvent("Happened", {})], expected_version=2)
    path, deaths = tmp_path / "handled", 0
    while after.global_position not in handled(path):
        async with worker(url, "poisoned", path) as process:
            while process.returncode is None and after.global_position not in handled(path):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            deaths += process.returncode is not None
    # Once in a batch, when nobody knew which one it was, and then as often as it may be tried.
    assert deaths == 1 + 2
    (parked,) = await store.consumer("reader", nothing, on_error=OnError.PARK, partitions=PARTITIONS).parked()
    assert (parked.position, parked.attempts) == (poison.global_position, 2)
    assert "the process ended" in parked.error
    assert before.global_position in handled(path)

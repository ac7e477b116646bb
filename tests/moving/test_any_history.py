"""Whatever is done to a store between its exports, another that is updated from them is the same each time.

Some of the imports are interrupted, and another one comes after them: of the same file, or of a later one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore import (
    ANY,
    EventStore,
    NewEvent,
    Progress,
    StreamDeleted,
    StreamWrite,
    WrongExpectedVersion,
    open_store,
)
from eventstore.moving import placing
from eventstore_conformance.observing import collect
from tests.engines import IN_FILES, url_for
from tests.moving.contents import contents_of, export_of, import_lines

STREAMS = ["order-1", "order-2", "cart-1", "cart-2"]
NAMES = ["one", "two"]
Random = random.Random


async def append(store: EventStore, choose: Random) -> None:
    writes = [
        StreamWrite(stream_id, [NewEvent("Happened", {"n": n}) for n in range(choose.randint(1, 4))], ANY)
        for stream_id in choose.sample(STREAMS, choose.randint(1, 3))
    ]
    await store.append_many(writes)


async def truncate(store: EventStore, choose: Random) -> None:
    stream_id = choose.choice(STREAMS)
    await store.truncate_stream(stream_id, choose.randint(1, await store.stream_version(stream_id) + 2))


async def delete(store: EventStore, choose: Random) -> None:
    await store.delete_stream(choose.choice(STREAMS), expected_version=ANY, erase=choose.random() < 0.5)


async def save_snapshot(store: EventStore, choose: Random) -> None:
    stream_id = choose.choice(STREAMS)
    version = await store.stream_version(stream_id)
    await store.save_snapshot(stream_id, choose.randint(1, max(version, 1)), {"n": choose.random()})


async def move_checkpoint(store: EventStore, choose: Random) -> None:
    name = choose.choice(NAMES)
    positions = [0, *[event.global_position async for event in store.read_all()], await store.head()]
    await store.save_checkpoint(name, choose.choice(positions), expected=await store.load_checkpoint(name), rewind=True)


async def work(store: EventStore, choose: Random) -> None:
    async def handle(event: object) -> None:
        """Do nothing."""

    await store.consumer("worker", handle, partitions=2).run_until_caught_up()


# More appends than anything else, and few deletions, since they are for ever.
ACTS: list[Callable[[EventStore, Random], Awaitable[None]]] = [
    append,
    append,
    append,
    truncate,
    truncate,
    delete,
    save_snapshot,
    move_checkpoint,
    work,
]


async def act(store: EventStore, choose: Random, times: int) -> None:
    for _ in range(times):
        try:
            await choose.choice(ACTS)(store, choose)
        except (StreamDeleted, WrongExpectedVersion):
            continue


async def rest_of(store: EventStore, name: str) -> list[object]:
    """Return what a reader that goes on at a checkpoint reads."""
    return [event.event_id async for event in store.read_all(after=await store.load_checkpoint(name))]


class Interrupted(Exception):
    """An import was interrupted."""


async def import_by_pieces(target: EventStore, lines: list[bytes], interrupted_at: int) -> None:
    """Import a file two events at a time, and interrupt it at a piece."""

    def told(progress: Progress) -> None:
        nonlocal interrupted_at
        interrupted_at -= progress.step == "import"
        if interrupted_at == 0:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch, suppress(Interrupted):
        patch.setattr(placing, "MOST_EVENTS", 2)
        await import_lines(target, lines, update=True, progress=told)


async def check_stays_the_same(source: EventStore, target: EventStore, choose: Random, exports: int) -> None:
    for _ in range(exports):
        await act(source, choose, choose.randint(0, 12))
        if choose.random() < 0.5:
            await import_by_pieces(target, await export_of(source), choose.randint(1, 8))
            assert (await target.verify()).is_sound
            await act(source, choose, choose.randint(0, 3))
        await import_lines(target, await export_of(source), update=True)
        assert await contents_of(target) == await contents_of(source)
        for name in NAMES:
            assert await rest_of(target, name) == await rest_of(source, name)
        assert (await target.verify()).is_sound
    assert len(await collect(target.read_all())) == len(await collect(source.read_all()))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_store_in_memory_follows_any_history(seed: int) -> None:
    async def run() -> None:
        async with open_store("memory://") as source, open_store("memory://") as target:
            await check_stays_the_same(source, target, random.Random(seed), 3)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("engine", IN_FILES, indirect=True)
@pytest.mark.asyncio
async def test_a_store_on_a_disk_follows_any_history(engine: str, tmp_path: Path, seed: int) -> None:
    url = f"sqlite:///{tmp_path}/source.db"
    async with open_store(url) as source, open_store(engine) as target:
        await check_stays_the_same(source, target, random.Random(seed), 4)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    return url_for(request)

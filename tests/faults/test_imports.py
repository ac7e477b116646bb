"""An import that is killed, cut off, or without room leaves a sound store, and goes on when it is run again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore import EventStore, StorageError, open_store
from eventstore_conformance.observing import collect
from tests.engines import IN_FILES
from tests.faults.small_disk import SmallDisk, small_disk
from tests.moving.making import file_of_events
from tests.proxy import Fault, Moment, Proxy

pytestmark = pytest.mark.asyncio

PATIENCE = 60
EVENTS = 12_000
COMMAND = "from eventstore.cli import main; main()"


@pytest.fixture(params=IN_FILES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.db"
    return str(request.getfixturevalue("durable_url"))


async def import_process(url: str, file: Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, "import", url, str(file), stdout=pipe, stderr=pipe
    )


async def stored(store: EventStore, number: int, process: asyncio.subprocess.Process) -> bool:
    """Return once so many events are in the store; false if the import ended before."""

    async def follow() -> None:
        found = 0
        async for _ in store.subscribe():
            found += 1
            if found == number:
                return

    following, ending = asyncio.create_task(follow()), asyncio.create_task(process.wait())
    await asyncio.wait([following, ending], return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    is_there = following.done()
    following.cancel()
    ending.cancel()
    await asyncio.gather(following, ending, return_exceptions=True)
    return is_there


async def test_an_import_that_is_killed_again_and_again_comes_to_its_end(url: str, tmp_path: Path) -> None:
    places = [(f"order-{n % 700}", n // 700 + 1) for n in range(EVENTS)]
    file = tmp_path / "many.jsonl"
    file.write_bytes(file_of_events(*places, data={"text": "x" * 200}).getvalue())
    kills = 0
    async with open_store(url) as store:
        for number in range(1, EVENTS, 2_500):
            process = await import_process(url, file)
            if await stored(store, number, process):
                process.kill()
                kills += 1
            await process.wait()
            assert (await store.verify()).is_sound
        process = await import_process(url, file)
        output, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert b" stored before" in output
        log = await collect(store.read_all())
        assert [(event.stream_id, event.version) for event in log] == places
        assert (await store.verify()).is_sound
    assert kills >= 3


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
async def test_an_import_whose_connection_is_lost_goes_on(
    durable_url: str, proxy: Proxy, moment: Moment, fault: Fault
) -> None:
    url = proxy.to(durable_url)
    file = file_of_events(*((f"order-{n % 2}", n // 2 + 1) for n in range(20)), data={"mark": "MarkedForLoss"})
    async with asyncio.timeout(PATIENCE), open_store(url, call_timeout=0.5, retry_timeout=20) as store:
        proxy.plan(moment, fault, of=b"MarkedForLoss")
        imported = await store.import_from(file)
        assert proxy.cuts + proxy.silenced == 1
        assert imported.events + imported.already_stored == 20
        assert len(await collect(store.read_all())) == 20
        assert (await store.verify()).is_sound


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(6, tmp_path.stat()) as disk:
        yield disk


async def test_an_import_that_finds_no_room_goes_on_once_there_is_some(disk: SmallDisk) -> None:
    places = [(f"order-{n % 50}", n // 50 + 1) for n in range(4_000)]
    file = file_of_events(*places, data={"text": "x" * 500})
    async with open_store(f"sqlite:///{disk.path}/events.db") as store:
        # Some of it fits.
        (disk.path / "ballast").write_bytes(bytes(4 * 2**20))
        with pytest.raises(StorageError, match="full"):
            await store.import_from(file)
        assert (await store.verify()).is_sound
        there = len(await collect(store.read_all()))
        assert there < len(places)
        disk.make_room()
        imported = await store.import_from(file)
        assert (imported.events, imported.already_stored) == (len(places) - there, there)
        assert [(event.stream_id, event.version) async for event in store.read_all()] == places

"""A process that forgot to close its store still exits, whatever it was in the midst of."""

from __future__ import annotations

import asyncio

import pytest

from tests.engines import ENGINES, url_for
from tests.sqlite.making import start_python

pytestmark = pytest.mark.asyncio

# What is kept is what no garbage collector ends early.
IN_THE_MIDST = """
import asyncio, sys
import eventstore
from eventstore import ANY, NewEvent

kept = []

async def follow(store, seen):
    async for event in store.subscribe():
        seen.set()

async def handle(event):
    pass

async def main():
    store = eventstore.open_store(sys.argv[1])
    await store.open()
    seen = asyncio.Event()
    kept.extend([store, asyncio.create_task(follow(store, seen))])
    await store.append("order-1", [NewEvent("Happened", {})], expected_version=ANY)
    await seen.wait()
    consumer = store.consumer("reader", handle, partitions=2, lease=0.1)
    kept.append(asyncio.create_task(consumer.run()))
    await consumer.wait_until(await store.head())
    reader = store.read_all()
    await anext(reader)
    transaction = store.transaction()
    tx = await transaction.__aenter__()
    await tx.append("order-2", [NewEvent("Happened", {})], expected_version=0)
    kept.extend([reader, transaction])
    kept.extend(asyncio.create_task(append(store, number)) for number in range(5))
    await asyncio.sleep(0)
    print("in the midst", flush=True)

async def append(store, number):
    await store.append(f"late-{number}", [NewEvent("Happened", {})], expected_version=ANY)

async def fail():
    await main()
    raise ZeroDivisionError

async def leave():
    await main()
    sys.exit(7)

"""

ENDINGS = {
    "an exception ends it": ("asyncio.run(fail())", 1),
    "it calls sys.exit": ("asyncio.run(leave())", 7),
    "its loop is left as it is": ("asyncio.new_event_loop().run_until_complete(main())", 0),
}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_process_in_the_midst_of_everything_exits_when(url: str, ending: str) -> None:
    program, status = ENDINGS[ending]
    process = await start_python(IN_THE_MIDST + program, url)
    try:
        async with asyncio.timeout(60):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, output) == (status, b"in the midst\n"), errors.decode()

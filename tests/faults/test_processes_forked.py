"""A forked child that uses its parent's store is told so at once, and does the parent no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore import open_store
from tests.engines import ENGINES, IN_FILES, url_for
from tests.sqlite.making import file_names, run_python

pytestmark = pytest.mark.asyncio

PARENT = """
import asyncio, atexit, gc, os, sys
import eventstore
from eventstore import ANY, NewEvent

EVENT = NewEvent("Happened", {})

def one_error(call):
    with asyncio.Runner() as runner:
        try:
            runner.run(call)
        except eventstore.OpenedElsewhere as error:
            return error.forked
        return None

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def append(store, number):
    await store.append("order-1", [NewEvent("Happened", {"n": number})], expected_version=ANY)

async def versions(store):
    return [event.version async for event in store.read_stream("order-1")]

with asyncio.Runner() as runner:
    store = eventstore.open_store(sys.argv[1])
    runner.run(store.open())
    runner.run(append(store, 1))
    CHILD
    runner.run(append(store, 2))
    print(runner.run(versions(store)))
    runner.run(store.close())
"""

REFUSED = "print(in_child(lambda: [one_error(append(store, 0)), one_error(versions(store))] != [True, True]))"
CLOSES = "print(in_child(lambda: one_error(store.close()) is not None))"
EXITS = "print(in_child(lambda: bool(atexit._run_exitfuncs())))"
FORGETS = """
    def forget():
        # What a garbage collector does to connections that it finds.
        del globals()["store"]
        return bool(gc.collect() < 0)
    print(in_child(forget))
"""
OPENS_ITS_OWN = """
    async def use_own():
        async with eventstore.open_store(sys.argv[1]) as own:
            await append(own, 3)
    print(in_child(lambda: bool(asyncio.run(use_own()))))
"""
IN_THE_SAME_LOOP = """
    def call():
        # As if the child ran the loop on that it has inherited.
        asyncio._set_running_loop(runner.get_loop())
        try:
            append(store, 3).send(None)
        except eventstore.OpenedElsewhere as error:
            return not error.forked
        return True
    print(in_child(call))
"""

CHILDREN = [REFUSED, CLOSES, FORGETS, IN_THE_SAME_LOOP]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


async def test_the_parent_goes_on_when_a_child_uses_closes_or_forgets_its_store(url: str) -> None:
    children = "\n    ".join(child.strip() for child in CHILDREN)
    assert await run_python(PARENT.replace("CHILD", children), url) == 4 * "0\n" + "[1, 2]\n"


@pytest.mark.parametrize("url", IN_FILES, indirect=True)
async def test_a_child_may_open_a_store_of_its_own(url: str) -> None:
    assert await run_python(PARENT.replace("CHILD", OPENS_ITS_OWN.strip()), url) == "0\n[1, 2, 3]\n"
    async with open_store(url) as store:
        assert [event.data["n"] async for event in store.read_all()] == [1, 3, 2]


async def test_a_child_that_exits_leaves_the_private_file_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert await run_python(PARENT.replace("CHILD", EXITS), "sqlite://") == "0\n[1, 2]\n"
    assert file_names(tmp_path) == []

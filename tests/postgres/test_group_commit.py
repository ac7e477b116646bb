"""Group commit on Postgres: what another transaction holds up holds up nobody else."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import ANY, NO_STREAM, NewEvent, WrongExpectedVersion, open_store

pytestmark = pytest.mark.asyncio


def an_event() -> NewEvent:
    return NewEvent("Happened", {})


async def test_a_stream_that_a_transaction_holds_holds_up_no_other(postgres_url: str) -> None:
    async with open_store(postgres_url) as store, open_store(postgres_url) as other:
        held, enough = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with other.transaction() as tx:
                await tx.append("held-1", [an_event()], expected_version=NO_STREAM)
                held.set()
                await enough.wait()

        holding = asyncio.create_task(hold())
        await held.wait()
        waiting, free = [], []
        for n in range(40):
            free.append(asyncio.create_task(store.append(f"free-{n}", [an_event()], expected_version=NO_STREAM)))
            if n % 10 == 3:
                waiting.append(asyncio.create_task(store.append("held-1", [an_event()], expected_version=NO_STREAM)))
        await asyncio.gather(*free)
        assert not any(append.done() for append in waiting)
        enough.set()
        await holding
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, WrongExpectedVersion) and result.actual == 1 for result in results)
        assert await store.stream_version("held-1") == 1


async def test_whoever_waits_alone_for_a_transaction_holds_up_nobody(postgres_url: str) -> None:
    async with open_store(postgres_url) as store, open_store(postgres_url) as other:
        async with other.transaction() as tx:
            for n in range(2):
                await tx.append(f"held-{n}", [an_event()], expected_version=NO_STREAM)
            waiting = [
                asyncio.create_task(store.append(f"held-{n}", [an_event()], expected_version=ANY)) for n in range(2)
            ]
            await asyncio.sleep(0)
            async with asyncio.timeout(20):
                for n in range(3):
                    await store.append(f"free-{n}", [an_event()], expected_version=NO_STREAM)
            assert not any(append.done() for append in waiting)
        assert [(await append)[0].version for append in waiting] == [2, 2]


async def test_racing_groups_of_two_stores_on_the_same_streams_all_get_through(postgres_url: str) -> None:
    async with open_store(postgres_url) as store, open_store(postgres_url) as other:

        async def write(n: int) -> None:
            await (store, other)[n % 2].append(f"hot-{n // 2 % 7}", [an_event(), an_event()], expected_version=ANY)

        await asyncio.gather(*map(write, range(280)))
        assert [await store.stream_version(f"hot-{n}") for n in range(7)] == [80] * 7


async def test_a_group_leaves_no_setting_behind(postgres_url: str) -> None:
    async with open_store(postgres_url, pool_max=2) as store:
        await asyncio.gather(*(store.append(f"s-{n}", [an_event()], expected_version=NO_STREAM) for n in range(50)))
        async with store.transaction() as tx:
            cursor = await tx.connection.execute("SHOW lock_timeout")
            assert await cursor.fetchone() == ("0",)

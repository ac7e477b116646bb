"""Several stores and several processes on one file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore import ANY, EventStore, NewEvent, StoreUnavailable, WrongExpectedVersion, open_store
from tests.sqlite.making import event, finished, positions, start_python, versions

pytestmark = pytest.mark.asyncio


@pytest.fixture
def other(path: Path, store: EventStore) -> Iterator[sqlite3.Connection]:
    """A connection of another program to the file of `store`."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


async def test_two_stores_see_each_others_commits_at_once(url: str, store: EventStore) -> None:
    async with open_store(url) as second:
        for number in range(1, 20):
            await store.append("order-1", [event()], expected_version=2 * number - 2)
            assert await second.stream_version("order-1") == 2 * number - 1
            await second.append("order-1", [event()], expected_version=2 * number - 1)
        assert await positions(store) == await positions(second) == list(range(1, 39))


async def test_of_two_stores_that_expect_the_same_version_one_wins(url: str, store: EventStore) -> None:
    async with open_store(url) as second:
        for version in range(20):
            results = await asyncio.gather(
                *(each.append("order-1", [event()], expected_version=version) for each in (store, second)),
                return_exceptions=True,
            )
            losers = [result for result in results if isinstance(result, BaseException)]
            assert [type(loser) for loser in losers] == [WrongExpectedVersion]
        assert await versions(store, "order-1") == list(range(1, 21))


APPEND_MANY = """
import asyncio, sys
import eventstore

async def main():
    async with eventstore.open_store(sys.argv[1], synchronous="off", busy_timeout=30) as store:
        for number in range(50):
            event = eventstore.NewEvent("Counted", {"process": sys.argv[2], "number": number})
            await store.append("shared", [event], expected_version=eventstore.ANY)
            await store.append(f"own-{sys.argv[2]}", [event_again(event)], expected_version=number)

def event_again(event):
    return eventstore.NewEvent(event.event_type, event.data)

asyncio.run(main())
"""


async def test_several_processes_append_side_by_side_while_a_reader_misses_nothing(url: str, store: EventStore) -> None:
    processes = [await start_python(APPEND_MANY, url, str(number)) for number in range(4)]
    writers = asyncio.gather(*map(finished, processes))
    followed: list[int] = []
    while not writers.done():
        after = followed[-1] if followed else 0
        followed += [event.global_position async for event in store.read_all(after=after)]
        await asyncio.wait([writers], timeout=0.01)
    await writers
    followed += [event.global_position async for event in store.read_all(after=followed[-1])]
    assert followed == await positions(store) == list(range(1, 401))
    assert await versions(store, "shared") == list(range(1, 201))
    numbers: dict[str, list[int]] = {}
    async for recorded in store.read_stream("shared"):
        numbers.setdefault(recorded.data["process"], []).append(recorded.data["number"])
    assert numbers == {str(process): list(range(50)) for process in range(4)}


async def test_a_lock_held_too_long_is_unavailable_and_writes_nothing(url: str, other: sqlite3.Connection) -> None:
    async with open_store(url, busy_timeout=0.05, retry_timeout=0) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            await store.append("order-1", [event()], expected_version=ANY)
        assert not caught.value.outcome_unknown
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        with pytest.raises(StoreUnavailable):
            async with store.transaction():
                pytest.fail("the transaction has no lock")
        assert await versions(store, "order-1") == []
        other.execute("ROLLBACK")
        await store.append("order-1", [event()], expected_version=0)


async def test_an_append_waits_for_a_lock_and_goes_on(store: EventStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    append = asyncio.create_task(store.append("order-1", [event()], expected_version=ANY))
    assert await versions(store, "order-1") == []
    assert not append.done()
    other.execute("COMMIT")
    assert [recorded.version for recorded in await append] == [1]


async def test_readers_go_on_while_others_write(store: EventStore, other: sqlite3.Connection) -> None:
    await store.append("order-1", [event()], expected_version=ANY)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM events")
    assert await versions(store, "order-1") == [1]
    other.execute("ROLLBACK")


async def test_an_erased_tail_does_not_take_back_the_head(url: str, store: EventStore) -> None:
    await store.append("order-1", [event(), event()], expected_version=ANY)
    await store.delete_stream("order-1", expected_version=2, erase=True)
    assert await store.head() == 2
    await store.close()
    async with open_store(url) as again:
        assert await again.head() == 2
        (recorded,) = await again.append("order-2", [event()], expected_version=ANY)
        assert recorded.global_position == 3


async def test_the_clock_of_a_stream_does_not_go_back(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = await store.append("order-1", [event()], expected_version=0)
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    (second,) = await store.append("order-1", [event()], expected_version=1)
    await store.truncate_stream("order-1", 3)
    (third,) = await store.append("order-1", [event()], expected_version=2)
    assert first.created_at == second.created_at == third.created_at
    (elsewhere,) = await store.append("order-2", [event()], expected_version=0)
    assert elsewhere.created_at < first.created_at


async def test_numbers_are_stored_digit_by_digit(store: EventStore, other: sqlite3.Connection) -> None:
    data = {"a": 1e23, "b": 5e-324, "c": 1.0, "d": 1, "e": 2**63 - 1, "f": 0.1, "text": 'quote " \\ \u2028 \U0001f600'}
    await store.append("order-1", [NewEvent("Counted", data)], expected_version=ANY)
    (text,) = other.execute("SELECT data FROM events").fetchone()
    assert text.startswith('{"a":1e23,"b":5e-324,"c":1.0,"d":1,"e":9223372036854775807,')
    (recorded,) = [recorded async for recorded in store.read_stream("order-1")]
    assert repr(recorded.data) == repr(data)

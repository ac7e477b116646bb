"""The hard promise: an event that commits later never appears at or below a position that a reader has passed.

With real concurrent connections to a real server. The same scenarios run against a naive reader (position > last) too,
and must then find what it misses: a test that cannot fail proves nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import EventStore, Filter, open_store
from tests.postgres.driving import append, append_in_flight, connected, streams_seen

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def store(postgres_url: str) -> AsyncIterator[EventStore]:
    async with open_store(postgres_url, settle_timeout=0) as store:
        yield store


@pytest_asyncio.fixture
async def writer(postgres_url: str) -> AsyncIterator[EventStore]:
    async with open_store(postgres_url) as store:
        yield store


async def test_a_hole_held_open_hides_what_lies_above(store: EventStore, writer: EventStore, postgres_url: str) -> None:
    below = await append(writer, "below")
    async with append_in_flight(writer, postgres_url, "slow") as slow:
        await append(writer, "above")
        assert await streams_seen(store) == ["below"]
        assert await store.head() == below.global_position
        await slow.execute("COMMIT")
    assert await streams_seen(store) == ["below", "slow", "above"]


async def test_a_filtered_reader_is_held_back_by_a_hole_that_it_could_not_see(
    store: EventStore, writer: EventStore, postgres_url: str
) -> None:
    async with append_in_flight(writer, postgres_url, "slow-1") as slow:
        await append(writer, "quick-1")
        assert await streams_seen(store, filter=Filter(stream_types=["quick"])) == []
        await slow.execute("COMMIT")
    assert await streams_seen(store, filter=Filter(stream_types=["quick"])) == ["quick-1"]
    assert await streams_seen(store, filter=Filter(stream_types=["slow"])) == ["slow-1"]


async def test_a_filtered_reader_gets_what_matches_below_the_hole(
    store: EventStore, writer: EventStore, postgres_url: str
) -> None:
    await append(writer, "quick-1")
    async with append_in_flight(writer, postgres_url, "slow-1") as slow:
        await append(writer, "quick-2")
        assert await streams_seen(store, filter=Filter(stream_types=["quick"])) == ["quick-1"]
        await slow.execute("ROLLBACK")


async def test_a_backward_reader_begins_below_the_hole(
    store: EventStore, writer: EventStore, postgres_url: str
) -> None:
    await append(writer, "below")
    async with append_in_flight(writer, postgres_url, "slow") as slow:
        await append(writer, "above")
        assert [event.stream_id async for event in store.read_all(backward=True)] == ["below"]
        await slow.execute("COMMIT")
    assert [event.stream_id async for event in store.read_all(backward=True)] == ["above", "slow", "below"]


async def test_a_rolled_back_hole_never_stalls(store: EventStore, writer: EventStore, postgres_url: str) -> None:
    async with append_in_flight(writer, postgres_url, "slow") as slow:
        await slow.execute("ROLLBACK")
    above = await append(writer, "above")
    assert await streams_seen(store) == ["above"]
    assert await store.head() == above.global_position


async def test_a_settled_hole_stays_settled_while_a_later_append_is_in_flight(
    store: EventStore, writer: EventStore, postgres_url: str
) -> None:
    async with append_in_flight(writer, postgres_url, "rolled back") as slow:
        await slow.execute("ROLLBACK")
    await append(writer, "above")
    assert await streams_seen(store) == ["above"]
    async with append_in_flight(writer, postgres_url, "slow") as slow:
        await append(writer, "higher")
        assert await streams_seen(store) == ["above"]
        await slow.execute("ROLLBACK")


async def test_a_hole_settles_though_other_appends_are_always_in_flight(
    store: EventStore, writer: EventStore, postgres_url: str
) -> None:
    async with append_in_flight(writer, postgres_url, "first") as first:
        await append(writer, "between")
        assert await streams_seen(store) == []
        async with append_in_flight(writer, postgres_url, "second") as second:
            await first.execute("ROLLBACK")
            assert await streams_seen(store) == ["between"]
            await second.execute("ROLLBACK")


async def test_an_unrelated_long_write_transaction_stalls_nothing(
    store: EventStore, writer: EventStore, postgres_url: str
) -> None:
    async with append_in_flight(writer, postgres_url, "rolled back") as slow:
        await slow.execute("ROLLBACK")
    async with connected(postgres_url) as unrelated:
        await unrelated.execute("CREATE TEMP TABLE elsewhere (number INTEGER)")
        await unrelated.execute("BEGIN")
        await unrelated.execute("INSERT INTO elsewhere VALUES (1)")
        above = await append(writer, "above")
        assert await streams_seen(store) == ["above"]
        assert await store.head() == above.global_position
        await unrelated.execute("ROLLBACK")


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
async def test_a_prepared_transaction_counts_until_it_ends(
    store: EventStore, writer: EventStore, postgres_url: str, ending: str
) -> None:
    name = f"prepared in {parse_qs(postgres_url.partition('?')[2])['schema'][0]}"
    async with append_in_flight(writer, postgres_url, "slow") as slow:
        await append(writer, "above")
        # The reader has the transaction on its list before it is prepared, and must not take that for its end.
        assert await streams_seen(store) == []
        await slow.execute(sql.SQL("PREPARE TRANSACTION {}").format(name))
        assert await streams_seen(store) == []
        assert await streams_seen(store) == []
    async with open_store(postgres_url, settle_timeout=0) as newcomer:
        assert await streams_seen(newcomer) == []
    async with connected(postgres_url) as connection:
        await connection.execute(f"{ending} PREPARED '{name}'".encode())
    assert await streams_seen(store) == (["slow", "above"] if ending == "COMMIT" else ["above"])


async def test_a_reader_waits_a_little_for_an_append_in_flight(writer: EventStore, postgres_url: str) -> None:
    async with open_store(postgres_url, settle_timeout=30) as patient:
        async with append_in_flight(writer, postgres_url, "slow") as slow:
            await append(writer, "above")
            reading = asyncio.ensure_future(streams_seen(patient))
            async with connected(postgres_url) as observer:
                await until_waiting(observer)
            await slow.execute("COMMIT")
        assert await reading == ["slow", "above"]


async def until_waiting(observer: psycopg.AsyncConnection) -> None:
    """Return when a reader has listed the appenders at least once."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE %s"
    async with asyncio.timeout(10):
        while (await (await observer.execute(query, ["%FROM pg_locks%"])).fetchall())[0][0] == 0:
            pass


# --- Under load ------------------------------------------------------------------------------------------------------

ReadOn = Callable[[int], Awaitable[list[tuple[int, str]]]]


async def follow_under_load(url: str, read_on: ReadOn) -> tuple[list[tuple[int, str]], set[str]]:
    """Follow the log by bookmark while two processes write; return what was seen, and the ids that were committed."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.postgres.settled_load", url, str(seed), stdout=asyncio.subprocess.PIPE
        )
        for seed in (1, 2)
    ]
    outputs = asyncio.gather(*(process.communicate() for process in processes))
    seen: list[tuple[int, str]] = []
    while True:
        writers_done = outputs.done()
        page = await read_on(seen[-1][0] if seen else 0)
        seen += page
        if writers_done and not page:
            break
    assert [process.returncode for process in processes] == [0, 0]
    return seen, {event_id for output, _ in await outputs for event_id in output.decode().split()}


async def test_a_follower_that_bookmarks_misses_nothing_under_load(store: EventStore, postgres_url: str) -> None:
    async def read_on(bookmark: int) -> list[tuple[int, str]]:
        return [(event.global_position, str(event.event_id)) async for event in store.read_all(after=bookmark)]

    seen, committed = await follow_under_load(postgres_url, read_on)
    positions = [position for position, _ in seen]
    assert positions == sorted(set(positions)), "in order, none twice"
    assert {event_id for _, event_id in seen} == committed, "nothing missed, nothing that was rolled back"


async def test_a_filtered_follower_that_bookmarks_misses_nothing_under_load(
    store: EventStore, postgres_url: str
) -> None:
    only = Filter(stream_types=["load"], event_types=["Loaded"])

    async def read_on(bookmark: int) -> list[tuple[int, str]]:
        events = store.read_all(after=bookmark, filter=only)
        return [(event.global_position, str(event.event_id)) async for event in events]

    seen, committed = await follow_under_load(postgres_url, read_on)
    assert {event_id for _, event_id in seen} == committed
    assert len(seen) == len(committed)


async def test_the_load_bites_a_naive_reader_misses_events(store: EventStore, postgres_url: str) -> None:
    events = sql.Identifier(parse_qs(postgres_url.partition("?")[2])["schema"][0], "events")
    query = sql.SQL(
        "SELECT global_position, event_id::text FROM {} WHERE global_position > %s ORDER BY global_position"
    ).format(events)
    async with connected(postgres_url) as connection:

        async def read_on(bookmark: int) -> list[tuple[int, str]]:
            return [(row[0], row[1]) for row in await (await connection.execute(query, [bookmark])).fetchall()]

        seen, committed = await follow_under_load(postgres_url, read_on)
    assert committed - {event_id for _, event_id in seen}, "the load does not force what the promise is about"

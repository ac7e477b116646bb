"""Files that were damaged behind the store's back: `verify` finds each damage, says where it is, and says it once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from eventstore import NO_STREAM, NewEvent, ProblemKind, open_store
from tests.damaging import Found, fill, found_in

pytestmark = pytest.mark.asyncio

DAMAGES = {
    "an event in the middle of a stream is gone": (
        "DELETE FROM events WHERE global_position = 3",
        Found(ProblemKind.MISSING, "order-1", 3),
    ),
    "an event has another version": (
        "UPDATE events SET version = 9 WHERE global_position = 10",
        Found(ProblemKind.MISSING, "order-2", 5),
    ),
    "a stream ends before its version": (
        "UPDATE stream_lifecycle SET version = 9 WHERE stream_id = 'order-3'",
        Found(ProblemKind.MISSING, "order-3", 4),
    ),
    "two events have changed places": (
        """
        UPDATE events SET global_position = -2 WHERE global_position = 2;
        UPDATE events SET global_position = 2 WHERE global_position = 3;
        UPDATE events SET global_position = 3 WHERE global_position = -2;
        """,
        Found(ProblemKind.ORDER, "order-1", 3, 2),
    ),
    "an event is older than the one before it": (
        "UPDATE events SET created_at = 0 WHERE global_position = 3",
        Found(ProblemKind.CLOCK, "order-1", 3, 3),
    ),
    "an event has the type of another stream": (
        "UPDATE events SET stream_type = 'cart' WHERE global_position = 3",
        Found(ProblemKind.STREAM_TYPE, "order-1", 3, 3),
    ),
    "data is an array": (
        "UPDATE events SET data = '[1]' WHERE global_position = 3",
        Found(ProblemKind.PAYLOAD, "order-1", 3, 3),
    ),
    "metadata is null": (
        "UPDATE events SET metadata = 'null' WHERE global_position = 3",
        Found(ProblemKind.PAYLOAD, "order-1", 3, 3),
    ),
    "the counter of positions was set back": (
        "UPDATE sqlite_sequence SET seq = 16 WHERE name = 'events'",
        Found(ProblemKind.POSITION, "gone-1", 2, 17),
    ),
    "a snapshot is ahead of its stream": (
        "UPDATE snapshots SET version = 8 WHERE stream_id = 'order-1'",
        Found(ProblemKind.SNAPSHOT, "order-1", 8),
    ),
    "a snapshot is of no version": (
        "UPDATE snapshots SET version = 0 WHERE stream_id = 'order-1'",
        Found(ProblemKind.SNAPSHOT, "order-1", 0),
    ),
    "a snapshot is no object": (
        "UPDATE snapshots SET data = '{' WHERE stream_id = 'order-1'",
        Found(ProblemKind.PAYLOAD, "order-1", 3),
    ),
    "a deleted stream has a snapshot": (
        "UPDATE snapshots SET stream_id = 'gone-1', version = 1 WHERE stream_id = 'order-1'",
        Found(ProblemKind.SNAPSHOT, "gone-1", 1),
    ),
    "a snapshot is of a stream that was never there": (
        "UPDATE snapshots SET stream_id = 'zero-1' WHERE stream_id = 'order-1'",
        Found(ProblemKind.SNAPSHOT, "zero-1", 3),
    ),
    "what was known of a truncated stream is lost": (
        "DELETE FROM stream_lifecycle WHERE stream_id = 'empty-1'",
        Found(ProblemKind.SNAPSHOT, "empty-1", 2),
    ),
    "a checkpoint is beyond the head": (
        "UPDATE subscription_checkpoints SET position = 999",
        Found(ProblemKind.CHECKPOINT, global_position=999, name="reader"),
    ),
    "a checkpoint is below the beginning": (
        "UPDATE subscription_checkpoints SET position = -1",
        Found(ProblemKind.CHECKPOINT, global_position=-1, name="reader"),
    ),
    "a consumer is beyond the head": (
        "UPDATE consumer_entries SET data = json_set(data, '$.position', 999) WHERE key LIKE 'partition/%'",
        Found(ProblemKind.CONSUMER, global_position=999, name="worker"),
    ),
    "what a consumer keeps does not decode": (
        "UPDATE consumer_entries SET data = '{}' WHERE key LIKE 'partition/%'",
        Found(ProblemKind.CONSUMER, name="worker"),
    ),
}


@pytest_asyncio.fixture
async def filled(url: str) -> str:
    async with open_store(url) as store:
        await fill(store)
    return url


def damage(path: Path, statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


async def found_after(url: str, path: Path, statements: str) -> list[Found]:
    damage(path, statements)
    async with open_store(url) as store:
        return await found_in(store)


async def test_a_sound_file_is_sound(filled: str) -> None:
    async with open_store(filled) as store:
        assert str(await store.verify()) == (
            "sound: 13 events up to position 17, 5 streams, 2 snapshots, 1 checkpoint, 2 consumer entries"
        )


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_is_damaged_is_found_where_it_is(filled: str, path: Path, name: str) -> None:
    statements, expected = DAMAGES[name]
    assert await found_after(filled, path, statements) == [expected]


@pytest.mark.parametrize("positions", [(1,), (17,), (3, 4), (1, 2, 3, 4, 5, 6), (5, 6, 13)], ids=str)
async def test_events_that_cannot_be_read_are_stepped_over(filled: str, path: Path, positions: tuple[int, ...]) -> None:
    listed = ", ".join(map(str, positions))
    found = await found_after(filled, path, f"UPDATE events SET data = '{{' WHERE global_position IN ({listed})")
    assert found == [Found(ProblemKind.UNREADABLE, global_position=position) for position in positions]


async def test_what_is_beside_an_event_that_cannot_be_read_is_still_verified(filled: str, path: Path) -> None:
    statements = (
        "UPDATE events SET data = '{' WHERE global_position = 3; DELETE FROM events WHERE global_position = 2;"
        "UPDATE events SET metadata = '7' WHERE global_position = 7"
    )
    assert await found_after(filled, path, statements) == [
        Found(ProblemKind.UNREADABLE, global_position=3),
        Found(ProblemKind.PAYLOAD, "order-2", 2, 7),
        Found(ProblemKind.MISSING, "order-1", 2),
    ]


async def test_two_events_with_one_id_are_found_where_nothing_forbids_it(filled: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((table,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events'").fetchall()
    careless = table.replace("TABLE events", "TABLE careless").replace("NOT NULL UNIQUE", "NOT NULL")
    statements = (
        f"{careless}; INSERT INTO careless SELECT * FROM events; DROP TABLE events;"
        "ALTER TABLE careless RENAME TO events;"
        "UPDATE events SET event_id = (SELECT event_id FROM events WHERE global_position = 2) WHERE global_position = 7"
    )
    assert await found_after(filled, path, statements) == [Found(ProblemKind.EVENT_ID, "order-2", 2, 7)]


@pytest.mark.parametrize(("version", "position"), [(1, 1), (3, 3), (5, 5)])
async def test_an_event_that_the_index_of_its_stream_has_lost_is_found(
    filled: str, path: Path, version: int, position: int
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((table,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events'").fetchall()
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'index'"))
        connection.executescript(
            f"{table.replace('TABLE events', 'TABLE other')};"
            f"INSERT INTO other SELECT * FROM events WHERE global_position <> {position}"
        )
        roots |= dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'index'"))
    ours, others = "sqlite_autoindex_events_2", "sqlite_autoindex_other_2"
    # The index of the other table, which lacks the event, in the place of ours.
    found = await found_after(
        filled,
        path,
        "PRAGMA writable_schema = on;"
        f"UPDATE sqlite_master SET rootpage = {roots[others]} WHERE name = '{ours}';"
        f"UPDATE sqlite_master SET rootpage = {roots[ours]} WHERE name = '{others}'",
    )
    assert found == [Found(ProblemKind.NOT_IN_STREAM, "order-1", version, position)]


async def test_an_index_with_an_event_that_the_table_has_lost_is_found(filled: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((table,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events'").fetchall()
        connection.executescript(
            f"{table.replace('TABLE events', 'TABLE other')};"
            "INSERT INTO other SELECT * FROM events WHERE global_position <> 3"
        )
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    statements = (
        "PRAGMA writable_schema = on;"
        f"UPDATE sqlite_master SET rootpage = {roots['other']} WHERE name = 'events';"
        f"UPDATE sqlite_master SET rootpage = {roots['events']} WHERE name = 'other'"
    )
    damage(path, statements)
    async with open_store(filled) as store:
        (problem,) = (await store.verify()).problems
    assert problem.kind is ProblemKind.UNREADABLE
    assert "after ('order-1', 2)" in problem.detail


async def test_so_much_that_cannot_be_read_ends_the_reading(url: str, path: Path) -> None:
    async with open_store(url) as store:
        await store.append("order-1", [NewEvent("Counted", {})] * 1, expected_version=NO_STREAM)
        await store.append("order-1", [NewEvent("Counted", {}) for _ in range(1_050)], expected_version=1)
    damage(path, "UPDATE events SET data = '{'")
    async with open_store(url) as store:
        verification = await store.verify(most_problems=2_000)
    assert [problem.kind for problem in verification.problems] == [
        *[ProblemKind.UNREADABLE] * 1_000,
        ProblemKind.NOT_LOOKED_AT,
    ]

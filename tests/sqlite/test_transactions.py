"""Transactions of the store and of the caller, with the caller's own SQL in them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    InvalidArgument,
    StorageError,
    StoreUnavailable,
    TransactionConflict,
    TransactionError,
    WrongExpectedVersion,
    open_store,
)
from tests.sqlite.making import event, events, positions, versions

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def connection(path: Path, store: EventStore) -> AsyncIterator[aiosqlite.Connection]:
    """A connection of the caller's own, with a table of theirs, as aiosqlite opens it."""
    async with aiosqlite.connect(path) as connection:
        await connection.execute("CREATE TABLE stock (item TEXT PRIMARY KEY)")
        yield connection
        await connection.rollback()


async def items(connection: aiosqlite.Connection) -> list[str]:
    return [item for (item,) in await connection.execute_fetchall("SELECT item FROM stock ORDER BY item")]


class TestTheStoresOwn:
    async def test_own_sql_commits_with_the_events(self, store: EventStore, connection: aiosqlite.Connection) -> None:
        async with store.transaction() as tx:
            await tx.append("order-1", [event()], expected_version=NO_STREAM)
            await tx.connection.execute("INSERT INTO stock VALUES ('apple')")
            assert await versions(store, "order-1") == []
            assert await items(connection) == []
        assert await versions(store, "order-1") == [1]
        assert await items(connection) == ["apple"]

    async def test_own_sql_rolls_back_with_the_events(
        self, store: EventStore, connection: aiosqlite.Connection
    ) -> None:
        with pytest.raises(KeyError, match="own"):
            async with store.transaction() as tx:
                await tx.append("order-1", [event()], expected_version=NO_STREAM)
                await tx.connection.execute("INSERT INTO stock VALUES ('apple')")
                raise KeyError("own")
        assert await versions(store, "order-1") == []
        assert await items(connection) == []

    async def test_errors_of_own_sql_pass_unchanged(self, store: EventStore) -> None:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            async with store.transaction() as tx:
                await tx.connection.execute("INSERT INTO nowhere VALUES (1)")
        await store.append("order-1", [event()], expected_version=0)

    async def test_positions_of_a_rolled_back_transaction_are_never_used_again(
        self, url: str, store: EventStore
    ) -> None:
        await store.append("order-1", [event()], expected_version=ANY)
        with pytest.raises(KeyError):
            async with store.transaction() as tx:
                drawn = await tx.append("order-1", events(3), expected_version=1)
                assert [recorded.global_position for recorded in drawn] == [2, 3, 4]
                raise KeyError
        async with open_store(url) as second:
            (recorded,) = await second.append("order-1", [event()], expected_version=1)
        assert recorded.global_position == 5
        assert await positions(store) == [1, 5]

    async def test_a_conflict_leaves_the_transaction_usable(self, store: EventStore) -> None:
        async with store.transaction() as tx:
            await tx.append("order-1", [event()], expected_version=0)
            with pytest.raises(WrongExpectedVersion):
                await tx.append("order-2", events(2), expected_version=7)
            await tx.append("order-1", [event()], expected_version=1)
        assert await versions(store, "order-1") == [1, 2]
        assert await versions(store, "order-2") == []
        assert await positions(store) == [1, 2]

    @pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
    async def test_ending_it_by_hand_is_told_by_the_next_call(self, store: EventStore, end: str) -> None:
        with pytest.raises(TransactionError, match="ended on its connection"):
            async with store.transaction() as tx:
                await tx.connection.execute(end)
                await tx.append("order-1", [event()], expected_version=ANY)
        assert await versions(store, "order-1") == []

    @pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "ROLLBACK; BEGIN IMMEDIATE"])
    async def test_ending_it_by_hand_is_told_at_the_end(self, store: EventStore, end: str) -> None:
        with pytest.raises(TransactionError, match="ended on its connection"):
            async with store.transaction() as tx:
                for statement in end.split(";"):
                    await tx.connection.execute(statement)
        await store.append("order-1", [event()], expected_version=0)

    async def test_a_call_that_comes_late_is_refused(self, store: EventStore) -> None:
        late: list[asyncio.Task[object]] = []
        with pytest.raises(WrongExpectedVersion):
            async with store.transaction() as tx:
                late += [
                    asyncio.create_task(tx.append(f"order-{number}", [event()], expected_version=ANY))
                    for number in range(20)
                ]
                await tx.append("order-1", [event()], expected_version=7)
        results = await asyncio.gather(*late, return_exceptions=True)
        assert any(isinstance(result, TransactionError) for result in results)
        assert await positions(store) == []

    async def test_rows_of_another_kind_disturb_nobody(self, store: EventStore) -> None:
        async with store.transaction() as tx:
            tx.connection.row_factory = lambda cursor, row: {"row": row}
            await tx.append("order-1", [event()], expected_version=ANY)
            assert await versions(tx, "order-1") == [1]
        await store.append("order-1", [event()], expected_version=1)

    async def test_a_constraint_that_fails_at_the_commit_rolls_back(self, store: EventStore) -> None:
        async with store.transaction() as tx:
            await tx.connection.execute("CREATE TABLE one (id INTEGER PRIMARY KEY)")
            await tx.connection.execute("CREATE TABLE many (one INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED)")
            connection = tx.connection
        await connection.execute("PRAGMA foreign_keys = on")
        with pytest.raises(StorageError, match="FOREIGN KEY"):
            async with store.transaction() as tx:
                await tx.append("order-1", [event()], expected_version=0)
                await tx.connection.execute("INSERT INTO many VALUES (7)")
        assert await positions(store) == []
        await store.append("order-1", [event()], expected_version=0)

    async def test_others_wait_for_its_end(self, store: EventStore) -> None:
        async with store.transaction() as tx:
            await tx.append("order-1", [event()], expected_version=0)
            other = asyncio.create_task(asyncio.wait_for(append_elsewhere(store), 30))
            await versions(tx, "order-1")
            assert not other.done()
        await other
        assert await versions(store, "order-1") == [1, 2]


async def append_elsewhere(store: EventStore) -> None:
    """Append past the transaction that this task was started in: as another program would."""
    backend = store._backend
    async with backend.transaction() as session:
        assert await session.stream_info("order-1") is not None
    async with open_store(f"sqlite:///{backend._file.path}") as second:  # type: ignore[attr-defined]
        await second.append("order-1", [event()], expected_version=1)


class TestTheCallers:
    @pytest.mark.parametrize("commits", [True, False])
    async def test_events_commit_or_roll_back_with_it(
        self, store: EventStore, connection: aiosqlite.Connection, commits: bool
    ) -> None:
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("INSERT INTO stock VALUES ('apple')")
        tx = store.bind(connection)
        assert tx.connection is connection
        await tx.append("order-1", [event()], expected_version=0)
        await tx.save_checkpoint("stock", 1, expected=0)
        await tx.truncate_stream("order-1", 2)
        assert await tx.stream_version("order-1") == 1
        assert await store.stream_version("order-1") == 0
        await (connection.commit() if commits else connection.rollback())
        assert await store.stream_version("order-1") == int(commits)
        assert await store.load_checkpoint("stock") == int(commits)
        assert await items(connection) == (["apple"] if commits else [])

    async def test_a_transaction_that_its_first_statement_began_will_do(
        self, store: EventStore, connection: aiosqlite.Connection
    ) -> None:
        await connection.execute("INSERT INTO stock VALUES ('apple')")
        await store.bind(connection).append("order-1", [event()], expected_version=0)
        await connection.commit()
        assert await versions(store, "order-1") == [1]

    async def test_without_a_running_transaction_it_says_how_to_begin(
        self, store: EventStore, connection: aiosqlite.Connection
    ) -> None:
        with pytest.raises(TransactionError, match="BEGIN IMMEDIATE"):
            await store.bind(connection).append("order-1", [event()], expected_version=0)
        assert not connection.in_transaction

    async def test_another_kind_of_connection_is_refused(self, store: EventStore, path: Path) -> None:
        connection = sqlite3.connect(path)
        with pytest.raises(InvalidArgument, match=r"aiosqlite\.Connection"):
            store.bind(connection)
        connection.close()

    @pytest.mark.parametrize("database", ["other.db", ":memory:"])
    async def test_a_connection_to_another_database_is_refused(
        self, store: EventStore, tmp_path: Path, database: str
    ) -> None:
        name = database if database == ":memory:" else str(tmp_path / database)
        async with aiosqlite.connect(name) as connection:
            await connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(InvalidArgument, match="another database"):
                await store.bind(connection).append("order-1", [event()], expected_version=0)

    async def test_a_snapshot_that_is_too_old_is_a_conflict(
        self, store: EventStore, connection: aiosqlite.Connection
    ) -> None:
        await connection.execute("BEGIN")
        await items(connection)
        await store.append("order-1", [event()], expected_version=0)
        with pytest.raises(TransactionConflict, match="BEGIN IMMEDIATE"):
            await store.bind(connection).append("order-2", [event()], expected_version=0)

    async def test_while_it_runs_the_store_waits(self, url: str, connection: aiosqlite.Connection) -> None:
        async with open_store(url, busy_timeout=0.05, retry_timeout=0) as store:
            await connection.execute("BEGIN IMMEDIATE")
            await store.bind(connection).append("order-1", [event()], expected_version=0)
            with pytest.raises(StoreUnavailable):
                await store.append("order-1", [event()], expected_version=ANY)
            await connection.commit()
            await store.append("order-1", [event()], expected_version=1)

    async def test_rows_of_their_kind_are_theirs(self, store: EventStore, connection: aiosqlite.Connection) -> None:
        def as_text(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> str:
            return repr(row)

        connection.row_factory = as_text  # type: ignore[assignment]
        await connection.execute("BEGIN IMMEDIATE")
        tx = store.bind(connection)
        await tx.append("order-1", [event()], expected_version=0)
        assert await versions(tx, "order-1") == [1]
        assert [str(row) for row in await connection.execute_fetchall("SELECT 1")] == ["(1,)"]

    async def test_after_the_connection_is_closed_it_says_so(self, store: EventStore, path: Path) -> None:
        async with aiosqlite.connect(path) as connection:
            await connection.execute("BEGIN IMMEDIATE")
            tx = store.bind(connection)
            await tx.append("order-1", [event()], expected_version=0)
        with pytest.raises(TransactionError):
            await tx.append("order-1", [event()], expected_version=1)

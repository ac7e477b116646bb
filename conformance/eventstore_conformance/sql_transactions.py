"""Chapter Transactions, continued: SQL of one's own beside the events, where the backend claims `SQL_TRANSACTIONS`.

The statements are such as every SQL database and driver takes, and tell by failing what is there: a key is taken once.
Tables are made and dropped by themselves, since that ends a transaction on some engines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest

from eventstore import NO_STREAM, Capability, CapabilityNotSupported, EventStore, InvalidArgument
from eventstore_conformance.chapter import Chapter, in_a_transaction, where_claimed
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import nothing_written
from eventstore_conformance.transactions import Undo


async def bind_nothing(store: EventStore) -> None:
    """Bind what is no connection."""
    store.bind(object())


async def run(store: EventStore, statement: str) -> None:
    """Run one statement in a transaction of its own."""
    async with store.transaction() as tx:
        await tx.connection.execute(statement)


@asynccontextmanager
async def a_key(store: EventStore) -> AsyncIterator[str]:
    """Provide a statement that takes a key in a table of its own, and fails where it is taken."""
    table = f"conformance_{uuid4().hex}"
    await run(store, f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
    try:
        yield f"INSERT INTO {table} VALUES (1)"  # noqa: S608 - our own name
    finally:
        await run(store, f"DROP TABLE {table}")


in_an_sql_transaction = where_claimed(Capability.SQL_TRANSACTIONS, bind_nothing)


class SqlTransactions(Chapter):
    """`tx.connection` and `store.bind`."""

    @in_an_sql_transaction
    async def test_sql_of_ones_own_commits_with_the_events(self, store: EventStore) -> None:
        """SQL-01: SQL run on `tx.connection` is committed with the transaction's appends."""
        async with a_key(store) as take_key:
            async with store.transaction() as tx:
                await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
                await tx.connection.execute(take_key)
            with pytest.raises(Exception):  # noqa: B017, PT011 - the driver's own: it is taken
                await run(store, take_key)
        assert await store.stream_version("new-1") == 1

    @in_an_sql_transaction
    async def test_sql_of_ones_own_rolls_back_with_the_events(self, store: EventStore) -> None:
        """SQL-02: SQL run on `tx.connection` is rolled back with the transaction's appends."""
        async with a_key(store) as take_key:
            async with nothing_written(store):
                with suppress(Undo):
                    async with store.transaction() as tx:
                        await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
                        await tx.connection.execute(take_key)
                        raise Undo
            await run(store, take_key)  # fails if it is taken

    @in_an_sql_transaction
    async def test_bound_calls_join_the_transaction_of_the_connection(self, store: EventStore) -> None:
        """SQL-03: What is done through `store.bind(connection)` commits or rolls back with its transaction."""
        async with store.transaction() as tx:
            bound = store.bind(tx.connection)
            await bound.append("new-1", some_events(1), expected_version=NO_STREAM)
            await bound.save_checkpoint("reader", 7, expected=0)
            assert await tx.stream_version("new-1") == 1
            assert await store.stream_version("new-1") == 0
        assert await store.stream_version("new-1") == 1
        async with nothing_written(store):
            with suppress(Undo):
                async with store.transaction() as tx:
                    await store.bind(tx.connection).append("new-1", some_events(1), expected_version=1)
                    raise Undo

    @in_an_sql_transaction
    async def test_binding_what_is_no_connection_is_refused(self, store: EventStore) -> None:
        """SQL-04: `bind` takes a connection of the backend's driver; anything else raises `InvalidArgument`."""
        for nothing in (None, "connection", object(), store):
            with pytest.raises(InvalidArgument):
                store.bind(nothing)

    @in_a_transaction
    async def test_a_transaction_without_sql_has_no_connection(self, store: EventStore) -> None:
        """SQL-05: `tx.connection` is there where the backend claims `SQL_TRANSACTIONS`, and refused elsewhere."""
        async with store.transaction() as tx:
            if Capability.SQL_TRANSACTIONS in store.capabilities:
                assert tx.connection is not None
            else:
                with pytest.raises(CapabilityNotSupported):
                    _ = tx.connection

"""Chapter Transactions. Where the backend does not claim them, each test checks that it says so."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    CheckpointConflict,
    DuplicateEventId,
    EventStore,
    InvalidEvent,
    StreamDeleted,
    StreamWrite,
    TransactionError,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter, in_a_transaction
from eventstore_conformance.making import an_event, some_events
from eventstore_conformance.observing import (
    collect,
    ids_in,
    let_others_run,
    log_of,
    nothing_written,
    stream_of,
    streams_of,
    versions,
)


class Undo(Exception):
    """What a test raises to roll back."""


class Transactions(Chapter):
    """`store.transaction()`."""

    # --- Commit and roll back ------------------------------------------------------------------------------------

    @in_a_transaction
    async def test_a_clean_exit_commits_everything(self, store: EventStore) -> None:
        """TX-01: Appends, snapshots, checkpoints and lifecycle calls of one transaction are there after its end."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        await store.append("old-2", some_events(3), expected_version=NO_STREAM)
        async with store.transaction() as tx:
            one = await tx.append("new-1", some_events(2), expected_version=NO_STREAM)
            ((two,), (three,)) = await tx.append_many(
                [StreamWrite("new-1", some_events(1), 2), StreamWrite("new-2", some_events(1), ANY)]
            )
            await tx.save_snapshot("new-1", 3, {"state": 3})
            await tx.save_checkpoint("reader", 7, expected=0)
            assert await tx.truncate_stream("old-1", 3) == 2
            await tx.delete_stream("old-2", expected_version=3)
        assert await stream_of(store, "new-1") == [*one, two]
        assert await stream_of(store, "new-2") == [three]
        assert versions(await stream_of(store, "old-1")) == [3]
        with pytest.raises(StreamDeleted):
            await stream_of(store, "old-2")
        snapshot = await store.load_snapshot("new-1")
        assert snapshot is not None
        assert snapshot.version == 3
        assert await store.load_checkpoint("reader") == 7

    @in_a_transaction
    async def test_an_exception_rolls_everything_back(self, store: EventStore) -> None:
        """TX-02: An exception leaves nothing of the transaction behind, and is raised on."""
        await store.append("old-1", some_events(3), expected_version=NO_STREAM)
        await store.append("old-2", some_events(3), expected_version=NO_STREAM)
        await store.save_snapshot("old-1", 1, {"state": 1})

        async def work() -> None:
            async with store.transaction() as tx:
                await tx.append("new-1", some_events(2), expected_version=NO_STREAM)
                await tx.append("old-1", some_events(2), expected_version=3)
                await tx.save_snapshot("old-1", 5, {"state": 5})
                await tx.save_checkpoint("reader", 7, expected=0)
                await tx.truncate_stream("old-1", 3)
                await tx.delete_stream("old-2", expected_version=3, erase=True)
                raise Undo

        async with nothing_written(store):
            with pytest.raises(Undo):
                await work()
        snapshot = await store.load_snapshot("old-1")
        assert snapshot is not None
        assert snapshot.version == 1
        assert await store.load_checkpoint("reader") == 0

    @in_a_transaction
    async def test_a_cancelled_transaction_is_rolled_back(self, store: EventStore) -> None:
        """TX-03: Cancelling the task in the middle of its transaction rolls it back; the store goes on."""
        appended = asyncio.Event()

        async def work() -> None:
            async with store.transaction() as tx:
                await tx.append("new-1", some_events(2), expected_version=NO_STREAM)
                appended.set()
                await asyncio.Event().wait()

        async with nothing_written(store):
            task = asyncio.ensure_future(work())
            await appended.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        await store.append("new-1", some_events(1), expected_version=NO_STREAM)

    @in_a_transaction
    async def test_an_empty_transaction_does_nothing(self, store: EventStore) -> None:
        """TX-04: A transaction without calls is allowed."""
        async with nothing_written(store), store.transaction():
            pass

    @in_a_transaction
    async def test_ids_of_a_transaction_rolled_back_are_free(self, store: EventStore) -> None:
        """TX-05: What was rolled back may be appended again with the same ids, to whatever stream."""
        batch = some_events(2)
        with suppress(Undo):
            async with store.transaction() as tx:
                await tx.append("new-1", batch, expected_version=NO_STREAM)
                raise Undo
        await store.append("new-2", batch, expected_version=NO_STREAM)

    @in_a_transaction
    async def test_a_committed_append_sent_again_is_recognised(self, store: EventStore) -> None:
        """TX-06: A batch is recognised when it is sent again, inside of transactions and outside."""
        batch = some_events(2)
        async with store.transaction() as tx:
            recorded = await tx.append("new-1", batch, expected_version=NO_STREAM)
            assert await tx.append("new-1", batch, expected_version=NO_STREAM) == recorded
        assert await store.append("new-1", batch, expected_version=NO_STREAM) == recorded
        async with store.transaction() as tx:
            assert await tx.append("new-1", batch, expected_version=NO_STREAM) == recorded
        assert await log_of(store) == recorded

    # --- Inside and outside --------------------------------------------------------------------------------------

    @in_a_transaction
    async def test_a_transaction_sees_its_own_writes(self, store: EventStore) -> None:
        """TX-07: Every read of a transaction sees what was there before and what the transaction wrote."""
        before = await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        async with store.transaction() as tx:
            new = await tx.append("old-1", some_events(2), expected_version=2)
            assert await collect(tx.read_stream("old-1")) == [*before, *new]
            assert await collect(tx.read_stream("old-1", backward=True, limit=1)) == new[1:]
            assert await tx.stream_version("old-1") == 4
            await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
            assert await ids_in(tx.list_streams()) == ["new-1", "old-1"]
            await tx.save_snapshot("old-1", 4, {"state": 4})
            snapshot = await tx.load_snapshot("old-1")
            assert snapshot is not None
            assert snapshot.version == 4
            await tx.save_checkpoint("reader", 7, expected=0)
            assert await tx.load_checkpoint("reader") == 7
            await tx.truncate_stream("old-1", 3)
            assert versions(await collect(tx.read_stream("old-1"))) == [3, 4]
            await tx.delete_stream("old-1", expected_version=4)
            with pytest.raises(StreamDeleted):
                await collect(tx.read_stream("old-1"))
            info = await tx.stream_info("old-1")
            assert info is not None
            assert info.deleted
            assert await tx.load_snapshot("old-1") is None

    @in_a_transaction
    async def test_nobody_else_sees_a_transaction_before_it_commits(self, store: EventStore) -> None:
        """TX-08: Until the commit, every read outside shows the store as it was."""
        await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        log, streams, head = await log_of(store), await streams_of(store), await store.head()
        async with store.transaction() as tx:
            await tx.append("old-1", some_events(2), expected_version=2)
            await tx.append("new-1", some_events(2), expected_version=NO_STREAM)
            await tx.save_snapshot("old-1", 4, {"state": 4})
            await tx.save_checkpoint("reader", 7, expected=0)
            assert await log_of(store) == log
            assert await streams_of(store) == streams
            assert await store.head() == head
            assert await stream_of(store, "new-1") == []
            assert await store.stream_version("old-1") == 2
            assert await store.load_snapshot("old-1") is None
            assert await store.load_checkpoint("reader") == 0
        assert len(await log_of(store)) == 6

    @in_a_transaction
    async def test_a_reader_does_not_pass_a_transaction_in_progress(self, store: EventStore) -> None:
        """TX-09: The bookmark of whoever reads beside a transaction still leads to its events once they are there."""
        await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        async with store.transaction() as tx:
            recorded = await tx.append("new-1", some_events(2), expected_version=NO_STREAM)
            bookmark = await store.head()
        assert await collect(store.read_all(after=bookmark)) == recorded

    @in_a_transaction
    async def test_other_tasks_write_beside_a_transaction(self, store: EventStore) -> None:
        """TX-10: An append of another task beside a transaction succeeds, during it or after it."""
        begun = asyncio.Event()

        async def write() -> None:
            await begun.wait()
            await store.append("other-1", some_events(1), expected_version=NO_STREAM)

        other = asyncio.ensure_future(write())
        async with store.transaction() as tx:
            await tx.append("mine-1", some_events(1), expected_version=NO_STREAM)
            begun.set()
            await let_others_run(10)
            await tx.append("mine-1", some_events(1), expected_version=1)
        await other
        assert [info.version for info in await streams_of(store)] == [2, 1]

    @in_a_transaction
    async def test_of_racing_transactions_one_moves_the_checkpoint(
        self, two_stores: tuple[EventStore, EventStore], store: EventStore
    ) -> None:
        """TX-11: Of transactions that race for one checkpoint one commits; of the others nothing is left."""

        async def work(n: int) -> bool:
            try:
                async with two_stores[n % 2].transaction() as tx:
                    await tx.append(f"work-{n}", some_events(1), expected_version=NO_STREAM)
                    await tx.save_checkpoint("reader", 5, expected=0)
            except CheckpointConflict:
                return False
            return True

        results = await asyncio.gather(*map(work, range(8)))
        assert sum(results) == 1
        assert [info.stream_id for info in await streams_of(store)] == [f"work-{results.index(True)}"]

    # --- Refusals ------------------------------------------------------------------------------------------------

    @in_a_transaction
    async def test_a_refusal_leaves_the_transaction_usable(self, store: EventStore) -> None:
        """TX-12: After a refused call a transaction goes on and commits what else it did."""
        stored = some_events(2)
        await store.append("old-1", stored, expected_version=NO_STREAM)
        await store.delete_stream("gone-1", expected_version=ANY)
        async with store.transaction() as tx:
            await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
            with pytest.raises(WrongExpectedVersion) as refusal:
                await tx.append("old-1", some_events(1), expected_version=1)
            assert refusal.value.actual == 2
            with pytest.raises(WrongExpectedVersion):
                await tx.append_many(
                    [StreamWrite("new-2", some_events(1), ANY), StreamWrite("new-1", some_events(1), 0)]
                )
            with pytest.raises(DuplicateEventId):
                await tx.append("new-1", stored, expected_version=1)
            with pytest.raises(StreamDeleted):
                await tx.append("gone-1", some_events(1), expected_version=ANY)
            with pytest.raises(StreamDeleted):
                await tx.delete_stream("gone-1", expected_version=ANY)
            with pytest.raises(CheckpointConflict):
                await tx.save_checkpoint("reader", 7, expected=3)
            with pytest.raises(WrongExpectedVersion):
                await tx.save_snapshot("new-1", 9, {})
            with pytest.raises(InvalidEvent):
                await tx.append("new-1", [an_event(data={"x": {1}})], expected_version=1)
            await tx.append("new-1", some_events(1), expected_version=1)
        assert versions(await stream_of(store, "new-1")) == [1, 2]
        assert await store.stream_info("new-2") is None
        assert versions(await stream_of(store, "old-1")) == [1, 2]

    @in_a_transaction
    async def test_a_refusal_that_is_not_caught_rolls_back(self, store: EventStore) -> None:
        """TX-13: A refused call that nobody catches rolls the transaction back like any exception."""

        async def work() -> None:
            async with store.transaction() as tx:
                await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
                await tx.append("new-1", some_events(1), expected_version=NO_STREAM)

        async with nothing_written(store):
            with pytest.raises(WrongExpectedVersion):
                await work()

    @in_a_transaction
    async def test_writing_past_the_transaction_is_refused(self, store: EventStore) -> None:
        """TX-14: Inside a transaction, writes through the store itself raise `TransactionError`."""
        await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        async with nothing_written(store), store.transaction():
            with pytest.raises(TransactionError):
                await store.append("new-1", some_events(1), expected_version=ANY)
            with pytest.raises(TransactionError):
                await store.append_many([StreamWrite("new-1", some_events(1), ANY)])
            with pytest.raises(TransactionError):
                await store.truncate_stream("old-1", 2)
            with pytest.raises(TransactionError):
                await store.delete_stream("old-1", expected_version=ANY)
            with pytest.raises(TransactionError):
                await store.save_snapshot("old-1", 1, {})
            with pytest.raises(TransactionError):
                await store.delete_snapshots("old-1")
            with pytest.raises(TransactionError):
                await store.save_checkpoint("reader", 1, expected=0)

    @in_a_transaction
    async def test_a_transaction_within_a_transaction_is_refused(self, store: EventStore) -> None:
        """TX-15: A second transaction inside the first raises `TransactionError`; the first goes on."""
        async with store.transaction() as tx:
            with pytest.raises(TransactionError):
                async with store.transaction():
                    pass
            await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
        assert await store.stream_version("new-1") == 1

    @in_a_transaction
    @pytest.mark.parametrize("undone", [False, True], ids=["committed", "rolled back"])
    async def test_a_transaction_that_has_ended_is_of_no_use(self, store: EventStore, undone: bool) -> None:
        """TX-16: Every call on a transaction that has ended raises `TransactionError`; the store itself works again."""
        transaction = store.transaction()
        tx = await transaction.__aenter__()
        await tx.append("new-1", some_events(1), expected_version=NO_STREAM)
        with suppress(Undo):
            await transaction.__aexit__(Undo if undone else None, Undo() if undone else None, None)
        with pytest.raises(TransactionError):
            await tx.append("new-2", some_events(1), expected_version=ANY)
        with pytest.raises(TransactionError):
            await collect(tx.read_stream("new-1"))
        with pytest.raises(TransactionError):
            await tx.stream_version("new-1")
        with pytest.raises(TransactionError):
            await tx.save_checkpoint("reader", 1, expected=0)
        with pytest.raises(TransactionError):
            _ = tx.connection
        await store.append("new-3", some_events(1), expected_version=NO_STREAM)

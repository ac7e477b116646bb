"""Chapter Faults: slow commits, lost connections, killed servers and killed processes; by the hooks of the author."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    Capability,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    StoreUnavailable,
)
from eventstore_conformance.chapter import Chapter, MakeStore, in_a_transaction
from eventstore_conformance.hooks import HoldCommit, Line, Server
from eventstore_conformance.killed_process import WRITES, KilledProcess
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import is_growing, log_of, nothing_written, positions, stream_of, versions
from eventstore_conformance.outcomes import check_claimed
from eventstore_conformance.transactions import Undo

AWHILE = 0.3
"""Seconds in which an append beside a held one is done, where the engine can write side by side."""

RETRIES = 20.0
"""Seconds in which a store that was lost is found again."""


class Faults(Chapter):
    """What goes wrong outside of the store."""

    # --- An append held before its commit ------------------------------------------------------------------------

    async def test_an_append_held_before_its_commit_is_missed_by_nobody(
        self, store: EventStore, hold_commit: HoldCommit
    ) -> None:
        """FAULT-01: A reader that bookmarks beside a slow commit, and beside later quicker ones, gets every event."""
        follower = Follower(store)
        async with hold_commit("held-1", some_events(3)):
            quicker = asyncio.ensure_future(append_one_by_one(store))
            await follower.read_until(quicker)
        await quicker
        await follower.read()
        assert follower.seen == await log_of(store)
        assert len(follower.seen) == 8

    async def test_an_append_held_and_rolled_back_holds_nobody_up(
        self, store: EventStore, hold_commit: HoldCommit
    ) -> None:
        """FAULT-02: An append that is rolled back after others have committed leaves a hole that readers pass."""
        follower = Follower(store)

        async def hold_and_undo() -> asyncio.Future[None]:
            async with hold_commit("held-1", some_events(3)):
                quicker = asyncio.ensure_future(append_one_by_one(store))
                await follower.read_until(quicker)
                undone.append(quicker)
                raise Undo

        undone: list[asyncio.Future[None]] = []
        with suppress(Undo):
            await hold_and_undo()
        await undone[0]
        await follower.read()
        assert follower.seen == await log_of(store)
        assert {event.stream_id for event in follower.seen} == {"quick-1"}
        assert await store.head() == follower.seen[-1].global_position
        await store.append("held-1", some_events(1), expected_version=NO_STREAM)

    # --- Lost connections ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("expected", [NO_STREAM, 0, ANY])
    @pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
    async def test_an_append_that_loses_its_connection_returns_its_true_outcome(
        self, cut_connection: Line, expected: ExpectedVersion, after_commit: bool
    ) -> None:
        """FAULT-03: With time to retry, an append cut off before or after its commit is stored once and returned."""
        async with cut_connection.make_store(retry_timeout=RETRIES) as store:
            await warm_up(store)
            lose(cut_connection, after_commit=after_commit)
            recorded = await store.append("cut-1", some_events(3), expected_version=expected)
            assert await stream_of(store, "cut-1") == recorded
            assert len(await log_of(store)) == 4

    @pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
    async def test_without_time_to_retry_a_lost_append_says_what_is_known(
        self, cut_connection: Line, after_commit: bool
    ) -> None:
        """FAULT-04: Cut off after its commit, an append says that its outcome is unknown; sent again, it tells."""
        batch = some_events(3)
        async with cut_connection.make_store(retry_timeout=0) as store:
            await warm_up(store)
            lose(cut_connection, after_commit=after_commit)
            with pytest.raises(StoreUnavailable) as refusal:
                await store.append("cut-1", batch, expected_version=NO_STREAM)
        assert refusal.value.outcome_unknown or not after_commit
        async with cut_connection.make_store() as store:
            recorded = await store.append("cut-1", batch, expected_version=NO_STREAM)
            assert await stream_of(store, "cut-1") == recorded
            assert versions(recorded) == [1, 2, 3]

    @pytest.mark.parametrize("after_commit", [False, True], ids=["request", "reply"])
    async def test_a_reader_goes_on_after_its_connection_is_lost(
        self, cut_connection: Line, after_commit: bool
    ) -> None:
        """FAULT-05: With time to retry, a read over many pages has every event once, whenever it is cut off."""
        async with cut_connection.make_store(retry_timeout=RETRIES, page_size=3) as store:
            recorded = await store.append("cut-1", some_events(10), expected_version=NO_STREAM)
            seen: list[RecordedEvent] = []
            async for event in store.read_all():
                seen.append(event)
                if len(seen) == 4:
                    lose(cut_connection, after_commit=after_commit)
            assert seen == recorded

    @in_a_transaction
    async def test_a_transaction_that_loses_its_connection_is_rolled_back(
        self, store: EventStore, cut_connection: Line
    ) -> None:
        """FAULT-06: A transaction cut off before its commit raises `StoreUnavailable`; nothing of it is there."""
        async with cut_connection.make_store() as cut:
            await warm_up(cut)

            async def work() -> None:
                async with cut.transaction() as tx:
                    await tx.append("cut-1", some_events(2), expected_version=NO_STREAM)
                    cut_connection.lose_request()
                    await tx.append("cut-1", some_events(1), expected_version=2)

            async with nothing_written(cut):
                with pytest.raises(StoreUnavailable):
                    await work()
            await cut.append("cut-1", some_events(1), expected_version=NO_STREAM)

    # --- Killed servers ------------------------------------------------------------------------------------------

    async def test_what_was_acknowledged_survives_the_death_of_the_server(self, kill_server: Server) -> None:
        """FAULT-07: A killed server that is back has everything that it acknowledged, in the same order."""
        async with kill_server.make_store(retry_timeout=RETRIES) as store:
            check_claimed(store, Capability.DURABLE)
            for n in range(10):
                await store.append(f"s-{n % 3}", some_events(n % 3 + 1), expected_version=ANY)
            await store.save_snapshot("s-1", 1, {"state": 1})
            await store.save_checkpoint("reader", 7, expected=0)
            await store.truncate_stream("s-0", 2)
            log = await log_of(store)
            await kill_server.kill_and_start()
            assert await log_of(store) == log
            assert await store.load_checkpoint("reader") == 7
            assert await store.load_snapshot("s-1") is not None

    async def test_a_bookmark_survives_the_death_of_the_server(self, kill_server: Server) -> None:
        """FAULT-08: What is appended after the death of the server lies above every bookmark from before."""
        async with kill_server.make_store(retry_timeout=RETRIES) as store:
            before = await store.append("s-1", some_events(3), expected_version=NO_STREAM)
            follower = Follower(store)
            await follower.read()
            await kill_server.kill_and_start()
            after = await store.append("s-1", some_events(2), expected_version=3)
            await follower.read()
            assert follower.seen == [*before, *after]
            assert is_growing(positions(follower.seen))

    # --- Killed processes ----------------------------------------------------------------------------------------

    async def test_what_was_acknowledged_survives_the_death_of_the_process(
        self, store: EventStore, process_url: str, reopen: MakeStore
    ) -> None:
        """FAULT-09: When a writing process is killed, what was acknowledged is there, and every batch is whole."""
        check_claimed(store, Capability.DURABLE, Capability.SHARED)
        async with KilledProcess("appends", process_url) as process:
            acknowledged = await process.lines(WRITES)
        async with reopen() as again:
            stream = await stream_of(again, "killed-1")
            assert versions(stream) == list(range(1, len(stream) + 1))
            assert len(stream) % 3 == 0
            assert [str(event.event_id) for event in stream][: 3 * WRITES : 3] == acknowledged
            await again.append("killed-1", some_events(1), expected_version=len(stream))

    async def test_a_transaction_of_a_killed_process_is_rolled_back(
        self, store: EventStore, process_url: str, reopen: MakeStore
    ) -> None:
        """FAULT-10: When a process is killed in a transaction, nothing of it is there, and nobody waits for it."""
        check_claimed(store, Capability.TRANSACTIONS, Capability.DURABLE, Capability.SHARED)
        async with KilledProcess("transaction", process_url) as process:
            await process.lines(1)
        async with reopen() as again:
            assert await stream_of(again, "killed-1") == []
            await again.append("killed-1", some_events(1), expected_version=NO_STREAM)


class Follower:
    """A reader that bookmarks what it saw last."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.seen: list[RecordedEvent] = []
        self.bookmark = 0

    async def read(self) -> None:
        """Read on to the end of the log."""
        async for event in self.store.read_all(after=self.bookmark):
            self.seen.append(event)
            self.bookmark = event.global_position

    async def read_until(self, appends: asyncio.Future[None]) -> None:
        """Read again and again until the appends are done, or seem to wait for the one held; then once more."""
        deadline = asyncio.get_running_loop().time() + AWHILE
        while not appends.done() and asyncio.get_running_loop().time() < deadline:
            await self.read()
            await asyncio.wait([appends], timeout=AWHILE / 10)
        await self.read()
        # Its head is a bookmark, too.
        self.bookmark = max(self.bookmark, await self.store.head())


async def append_one_by_one(store: EventStore) -> None:
    """Append a few events to another stream than the one that is held."""
    for version in range(5):
        await store.append("quick-1", some_events(1), expected_version=version)


async def warm_up(store: EventStore) -> None:
    """Have the connection there before it is cut."""
    await store.append("warm-1", some_events(1), expected_version=ANY)


def lose(line: Line, *, after_commit: bool) -> None:
    """Cut the line at the next call, before its commit or after."""
    if after_commit:
        line.lose_reply()
    else:
        line.lose_request()

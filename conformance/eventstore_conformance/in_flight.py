"""Chapter Order, continued: reading beside appends and transactions that have not ended yet.

Where an engine has one writer at a time, what is appended beside a transaction waits for its end. So nothing here
relies on an append getting done beside another: it is given a while, and both are right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from eventstore import NO_STREAM, EventStore, Filter, RecordedEvent, StoreTransaction, TransactionConflict
from eventstore_conformance.chapter import Chapter, in_a_transaction
from eventstore_conformance.effort import EFFORT
from eventstore_conformance.faults import AWHILE
from eventstore_conformance.hooks import HoldCommit
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import collect, in_log_order, log_of, positions, stream_of

SLOW = 10.0 if EFFORT.thorough else 1.0
"""Seconds that a slow commit takes: longer than a reader would wait that takes old holes for those of rollbacks."""


async def read(tx: StoreTransaction) -> None:
    """Look at the store."""
    assert len(await collect(tx.read_stream("old-1"))) == 2


async def save_a_checkpoint(tx: StoreTransaction) -> None:
    """Write something that is no event."""
    await tx.save_checkpoint("reader", 1, expected=0)


IDLENESS: list[Callable[[StoreTransaction], Awaitable[None]]] = [read, save_a_checkpoint]


class InFlight(Chapter):
    """Appends whose commit is slow, and transactions that append nothing."""

    async def test_a_reader_never_gives_up_on_a_slow_commit(
        self, two_stores: tuple[EventStore, EventStore], hold_commit: HoldCommit
    ) -> None:
        """ORDER-13: However long an append takes to commit, no way of reading leads to a bookmark beyond it."""
        store, _ = two_stores
        passed = 0
        async with hold_commit("slow-1", some_events(3)):
            quick = asyncio.ensure_future(store.append("quick-1", some_events(5), expected_version=NO_STREAM))
            clock = asyncio.get_running_loop().time
            ends = clock() + (SLOW if await gets_done(quick) else 0)
            is_over = False
            while not is_over:
                is_over = clock() >= ends
                passed = max(passed, *await asyncio.gather(*map(highest_bookmark, two_stores)))
        appended = await quick
        slow = await stream_of(store, "slow-1")
        assert passed < min(positions(slow))
        assert await log_of(store) == in_log_order([*slow, *appended])

    @in_a_transaction
    async def test_a_transaction_that_began_first_may_append_last(
        self, store: EventStore, two_stores: tuple[EventStore, EventStore], hold_commit: HoldCommit
    ) -> None:
        """ORDER-14: Bookmarks are safe whichever of two transactions begins first, appends first and commits first."""
        begun, appended, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def append_slowly() -> None:
            await begun.wait()
            async with hold_commit("slow-1", some_events(2)):
                appended.set()
                await release.wait()

        async with asyncio.TaskGroup() as tasks:
            # Made before the transaction, which it must not take for its own.
            tasks.create_task(append_slowly())
            # An engine that can place only one of the two asks for the other to be run again.
            with suppress(TransactionConflict):
                async with store.transaction() as early:
                    await early.save_checkpoint("reader", 1, expected=0)
                    begun.set()
                    await gets_done(asyncio.ensure_future(appended.wait()))
                    await early.append("early-1", some_events(2), expected_version=NO_STREAM)
            await appended.wait()
            passed = max(await asyncio.gather(*map(highest_bookmark, two_stores)))
            release.set()
        assert passed < min(positions(await stream_of(store, "slow-1")))

    @in_a_transaction
    @pytest.mark.parametrize("idle", IDLENESS, ids=lambda idle: idle.__name__)
    async def test_a_transaction_that_appends_nothing_holds_no_reader_up(
        self,
        store: EventStore,
        two_stores: tuple[EventStore, EventStore],
        idle: Callable[[StoreTransaction], Awaitable[None]],
    ) -> None:
        """ORDER-15: Readers wait for appends in flight only: what is committed beside an open transaction is read."""
        old = await store.append("old-1", some_events(2), expected_version=NO_STREAM)
        begun = asyncio.Event()

        async def append_quickly() -> list[RecordedEvent]:
            await begun.wait()
            return await two_stores[1].append("quick-1", some_events(2), expected_version=NO_STREAM)

        async with asyncio.TaskGroup() as tasks:
            appending = tasks.create_task(append_quickly())
            async with store.transaction() as tx:
                await idle(tx)
                begun.set()
                committed = [*old, *appending.result()] if await gets_done(appending) else old
                for reading in two_stores:
                    assert (await log_of(reading))[: len(committed)] == committed
                    assert await reading.head() >= committed[-1].global_position
        assert await log_of(store) == [*old, *appending.result()]


async def gets_done(call: asyncio.Future[Any]) -> bool:
    """Tell whether a call gets done beside what is in flight, or seems to wait for it."""
    await asyncio.wait([call], timeout=AWHILE)
    return call.done()


async def highest_bookmark(store: EventStore) -> int:
    """Return the highest position that anyone who reads now may bookmark."""
    head, *readings = await asyncio.gather(
        store.head(),
        log_of(store),
        collect(store.read_all(backward=True, limit=1)),
        collect(store.read_all(filter=Filter(stream_types=["quick", "early"]))),
    )
    return max([head, *(position for reading in readings for position in positions(reading))])

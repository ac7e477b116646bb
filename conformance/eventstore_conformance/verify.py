"""Chapter Verify: a store that was used says that it is sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    InvalidArgument,
    OnError,
    Problem,
    ProblemKind,
    Progress,
    StoreNotOpen,
    StreamWrite,
    Verification,
)
from eventstore_conformance.chapter import Chapter, in_a_transaction
from eventstore_conformance.consumer_errors import QUICK, Failing
from eventstore_conformance.consumers import as_a_consumer
from eventstore_conformance.making import BAD_COUNTS, PECULIAR_NAMES, some_events
from eventstore_conformance.observing import let_others_run, nothing_written, pass_time

MANY = 1_100
"""More than a page of events and streams; a tenth is more than one of what is read by fewer at a time."""


async def verified(store: EventStore) -> Verification:
    """Verify a store, which must be sound."""
    verification = await store.verify()
    assert verification.problems == (), str(verification)
    assert verification.more_problems == 0
    assert verification.is_sound
    return verification


async def with_streams(store: EventStore) -> None:
    """Make four streams of five events."""
    for name in ("kept-1", "short-1", "gone-1", "erased-1"):
        await store.append(name, some_events(5), expected_version=NO_STREAM)


class Writer:
    """Somebody who uses a store in every way, over and over, each at a pace of their own."""

    def __init__(self, store: EventStore, pace: int) -> None:
        self.store = store
        self.pace = pace
        self.name = f"writer-{pace}"
        self.position = 0
        self.is_stopping = False

    async def write(self) -> None:
        """Go on until it is to stop."""
        rounds = 0
        await self.store.append(self.name, some_events(3), expected_version=NO_STREAM)
        while not self.is_stopping:
            rounds += 1
            await self.use(f"short-{self.name}-{rounds}", erase=rounds % 2 == 0)
            await self.store.append(self.name, some_events(2), expected_version=ANY)
            await self.store.truncate_stream(self.name, 2 * rounds)
            await let_others_run(rounds % self.pace)

    async def use(self, stream_id: str, *, erase: bool) -> None:
        """Make a stream and bookmark it, keep a snapshot, cut it, and delete it."""
        recorded = await self.store.append(stream_id, some_events(4), expected_version=NO_STREAM)
        await self.store.save_checkpoint(self.name, recorded[-1].global_position, expected=self.position)
        self.position = recorded[-1].global_position
        await let_others_run()
        await self.store.save_snapshot(stream_id, 3, {})
        await self.store.truncate_stream(stream_id, 3)
        await let_others_run()
        await self.store.delete_stream(stream_id, expected_version=ANY, erase=erase)


@asynccontextmanager
async def at_work(*writers: Writer) -> AsyncIterator[None]:
    """Let writers go on during the block."""
    tasks = [asyncio.ensure_future(writer.write()) for writer in writers]
    try:
        yield
    finally:
        for writer in writers:
            writer.is_stopping = True
        await asyncio.gather(*tasks)


class Verify(Chapter):
    """`verify`: no false alarm, whatever was done with the store; and damage, as far as its users can do any."""

    async def test_an_empty_store_is_sound(self, store: EventStore) -> None:
        """VERIFY-01: A store without any events is sound, and there is nothing in it."""
        assert await verified(store) == Verification(0, 0, 0, 0, 0, 0, (), 0)

    async def test_what_was_appended_is_sound_and_counted(self, store: EventStore) -> None:
        """VERIFY-02: After appends a store is sound, its events and streams are counted, and nothing is changed."""
        await with_streams(store)
        writes = [StreamWrite(name, some_events(2), NO_STREAM) for name in ("many-1", "many-2")]
        await store.append_many([*writes, StreamWrite("kept-1", some_events(1), 5)])
        async with nothing_written(store):
            verification = await verified(store)
        assert (verification.events, verification.streams) == (25, 6)
        assert verification.head == await store.head()

    async def test_what_was_removed_is_not_missed(self, store: EventStore) -> None:
        """VERIFY-03: Truncated, deleted and erased streams are sound; those deleted count as streams."""
        await with_streams(store)
        await store.append("empty-1", some_events(2), expected_version=NO_STREAM)
        await store.truncate_stream("short-1", 4)
        await store.truncate_stream("empty-1", 99)
        await store.delete_stream("gone-1", expected_version=5)
        await store.delete_stream("erased-1", expected_version=5, erase=True)
        await store.delete_stream("never-1", expected_version=NO_STREAM)
        verification = await verified(store)
        assert (verification.events, verification.streams) == (5 + 2 + 5, 6)
        await store.append("empty-1", some_events(1), expected_version=2)
        await store.delete_stream("gone-1", expected_version=5, erase=True)
        assert (await verified(store)).events == 5 + 2 + 1

    async def test_snapshots_are_sound_and_counted(self, store: EventStore) -> None:
        """VERIFY-04: Snapshots are sound, of truncated streams as well, and counted; deleted ones are gone."""
        await with_streams(store)
        for name in ("kept-1", "short-1", "gone-1", "erased-1"):
            await store.save_snapshot(name, 5, {"of": name})
        assert (await verified(store)).snapshots == 4
        await store.truncate_stream("short-1", 99)
        await store.delete_stream("gone-1", expected_version=ANY)
        await store.delete_stream("erased-1", expected_version=ANY, erase=True)
        assert (await verified(store)).snapshots == 2
        await store.delete_snapshots("kept-1")
        assert (await verified(store)).snapshots == 1

    async def test_checkpoints_are_sound_and_counted(self, store: EventStore) -> None:
        """VERIFY-05: Checkpoints from 0 to the head are sound and counted, also when what they had seen is erased."""
        await with_streams(store)
        head = await store.head()
        for name, position in (("first", 0), ("middle", head - 1), ("last", head)):
            await store.save_checkpoint(name, position, expected=0)
        await store.delete_stream("erased-1", expected_version=ANY, erase=True)
        assert (await verified(store)).checkpoints == 3

    @as_a_consumer
    async def test_what_consumers_keep_is_sound_and_counted(self, store: EventStore) -> None:
        """VERIFY-06: What consumers keep is sound and counted: their settings, partitions, and events set aside."""
        await store.append("log-1", some_events(4), expected_version=NO_STREAM)
        failing = Failing()
        consumer = store.consumer("reader", failing.one, retry=QUICK, on_error=OnError.PARK, partitions=2)
        await consumer.run_until_caught_up()
        assert (await verified(store)).consumer_entries >= 4
        await store.truncate_stream("log-1", 99)
        await verified(store)

    @in_a_transaction
    async def test_what_was_rolled_back_leaves_nothing(self, store: EventStore) -> None:
        """VERIFY-07: A store is sound after transactions that were rolled back, and they are not counted."""
        await with_streams(store)
        with suppress(ZeroDivisionError):
            async with store.transaction() as tx:
                await tx.append("other-1", some_events(3), expected_version=NO_STREAM)
                await tx.append("kept-1", some_events(1), expected_version=5)
                await tx.save_snapshot("kept-1", 6, {})
                await tx.truncate_stream("short-1", 3)
                await tx.delete_stream("gone-1", expected_version=5, erase=True)
                raise ZeroDivisionError
        verification = await verified(store)
        assert (verification.events, verification.streams, verification.snapshots) == (20, 4, 0)
        await store.append("kept-1", some_events(1), expected_version=5)
        assert (await verified(store)).events == 21

    async def test_writers_at_work_are_no_damage(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """VERIFY-08: Appends, truncations, deletions, snapshots and checkpoints beside it raise no false alarm."""
        store, other = two_stores
        async with at_work(Writer(store, 3), Writer(other, 4), Writer(other, 5)):
            for _ in range(25):
                await verified(store)
                await pass_time(0.002)
        await verified(store)

    async def test_a_checkpoint_beyond_the_head_is_reported(self, store: EventStore) -> None:
        """VERIFY-09: A checkpoint beyond the head, which would hide what is appended, is reported with its place."""
        await with_streams(store)
        beyond = await store.head() + 1_000
        await store.save_checkpoint("reader", beyond, expected=0)
        verification = await store.verify()
        assert not verification.is_sound
        (problem,) = verification.problems
        assert (problem.kind, problem.name, problem.global_position) == (ProblemKind.CHECKPOINT, "reader", beyond)
        assert "reader" in str(problem)
        assert str(problem) in str(verification)

    async def test_problems_beyond_the_limit_are_counted(self, store: EventStore) -> None:
        """VERIFY-10: So many problems are listed as are asked for, and the others counted."""
        for number in range(5):
            await store.save_checkpoint(f"reader-{number}", 1_000, expected=0)
        for most, more in ((5, 0), (3, 2), (0, 5)):
            verification = await store.verify(most_problems=most)
            assert (len(verification.problems), verification.more_problems) == (most, more)
            assert not verification.is_sound
            assert all(isinstance(problem, Problem) for problem in verification.problems)

    @pytest.mark.parametrize("bad", [None, *BAD_COUNTS])
    async def test_a_bad_limit_of_problems_is_refused(self, store: EventStore, bad: Any) -> None:
        """VERIFY-11: The most problems to list are an integer from 0 on."""
        with pytest.raises(InvalidArgument):
            await store.verify(most_problems=bad)

    async def test_the_progress_is_told(self, store: EventStore) -> None:
        """VERIFY-12: How far it has come is told step by step: it never goes back, and each step comes to its end."""
        await with_streams(store)
        told: list[Progress] = []
        await store.verify(progress=told.append)
        steps = list(dict.fromkeys(progress.step for progress in told))
        assert steps == ["log", "streams"]
        for step in steps:
            done = [progress.done for progress in told if progress.step == step]
            assert done == sorted(done)
            assert done[-1] == {progress.total for progress in told if progress.step == step}.pop() > 0

    async def test_more_than_a_page_of_everything_is_read(self, store: EventStore) -> None:
        """VERIFY-13: Many events, streams, snapshots and checkpoints are each looked at once."""
        writes = [StreamWrite(f"many-{number}", some_events(1), NO_STREAM) for number in range(MANY)]
        await store.append_many([*writes, StreamWrite("long-1", some_events(MANY), NO_STREAM)])
        for number in range(0, MANY, 10):
            await store.save_snapshot(f"many-{number}", 1, {})
        for number in range(MANY // 10):
            await store.save_checkpoint(f"reader-{number}", 1, expected=0)
        verification = await verified(store)
        assert (verification.events, verification.streams) == (2 * MANY, MANY + 1)
        assert (verification.snapshots, verification.checkpoints) == (MANY // 10,) * 2

    async def test_names_are_plain_data_to_it(self, store: EventStore) -> None:
        """VERIFY-14: Streams, snapshots and checkpoints of any name are sound, in whatever order it reads them."""
        for name in PECULIAR_NAMES:
            await store.append(name, some_events(3), expected_version=NO_STREAM)
            await store.save_snapshot(name, 2, {})
            await store.save_checkpoint(name, 1, expected=0)
        verification = await verified(store)
        kept = (verification.events // 3, verification.streams, verification.snapshots, verification.checkpoints)
        assert kept == (len(PECULIAR_NAMES),) * 4

    async def test_a_closed_store_is_not_verified(self, store: EventStore) -> None:
        """VERIFY-15: On a closed store it raises `StoreNotOpen`."""
        await store.close()
        with pytest.raises(StoreNotOpen):
            await store.verify()

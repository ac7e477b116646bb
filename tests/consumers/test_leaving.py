"""A consumer that is cancelled ends, also where what it would still save has to wait for somebody else."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import ANY, EventStore, NewEvent, RecordedEvent

pytestmark = pytest.mark.asyncio


async def test_a_cancelled_consumer_does_not_wait_for_the_end_of_anothers_transaction(store: EventStore) -> None:
    handled = asyncio.Event()

    async def handle(event: RecordedEvent) -> None:
        handled.set()

    await store.append("order-1", [NewEvent("Happened", {})], expected_version=ANY)
    running = asyncio.create_task(store.consumer("reader", handle, lease=0.1).run())
    await handled.wait()
    async with store.transaction() as tx:
        await tx.append("order-2", [NewEvent("Happened", {})], expected_version=ANY)
        running.cancel()
        await asyncio.wait([running], timeout=30)
        assert running.cancelled()

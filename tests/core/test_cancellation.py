"""Cancellations that something on the way has swallowed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from eventstore.cancellation import heeding_cancellation

pytestmark = pytest.mark.asyncio


async def swallow() -> str:
    """Do as `asyncio.wait_for` of Python 3.11 does when the result is there at the same moment."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    return "the result"


async def test_a_swallowed_cancellation_is_raised_all_the_same() -> None:
    async def call() -> str:
        with heeding_cancellation():
            return await swallow()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_that_was_swallowed_is_one_all_the_same() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            with heeding_cancellation():
                await swallow()


async def test_what_runs_after_a_cancellation_is_left_alone() -> None:
    async def call() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            with heeding_cancellation():
                await asyncio.sleep(0)
            cleaned_up.append(True)
        return ""

    cleaned_up: list[bool] = []
    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned_up

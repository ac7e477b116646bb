"""Finishing what must be finished, whoever cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raise a cancellation that came in the block, and that something in it has swallowed.

    `asyncio.wait_for` of Python 3.11 does where a result comes at the same moment; mended in 3.12:
    https://github.com/python/cpython/issues/86296.
    """
    before = cancellations()
    yield
    if cancellations() > before:
        raise asyncio.CancelledError


def cancellations() -> int:
    """Return how often the current task was asked to end and has not heeded it."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Do work to its end, even when cancelled; the cancellation is raised afterwards."""
    task = asyncio.create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not report it as never seen
        raise cancellation
    return task.result()

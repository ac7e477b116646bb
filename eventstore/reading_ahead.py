"""Reading a page while the one before it is being used."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ReadingAhead(Generic[T]):
    """At most one page that is being read, or was; for one reader."""

    def __init__(self) -> None:
        self._task: asyncio.Task[T] | None = None

    def begin(self, read: Coroutine[Any, Any, T]) -> None:
        """Begin to read; not while there is a page to take."""
        self._task = asyncio.create_task(read, name="eventstore read ahead")

    @property
    def has_begun(self) -> bool:
        """Whether there is a page to take."""
        return self._task is not None

    async def take(self) -> T:
        """Return the page that was begun; raise what reading it raised."""
        assert self._task is not None
        try:
            return await self._task
        finally:
            self._task = None

    async def close(self) -> None:
        """End what was begun and not taken."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()  # retrieved, so that asyncio does not report it as never seen

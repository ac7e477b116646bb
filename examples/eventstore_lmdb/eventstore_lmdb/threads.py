"""LMDB blocks, so its calls run in threads: one that writes, several that read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """Threads that are started when they are needed, and are all gone once `end` returns."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._calls: set[Future[Any]] = set()

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Run a call in the next free thread; calls begin in the order in which they were started."""
        future = self._pool.submit(call)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call and return its result. Cancelled, a call that has begun goes on, and its result is dropped."""
        return await asyncio.wrap_future(self.start(call))

    async def end(self) -> None:
        """Wait for the calls that have begun, also those whose caller was cancelled, and end the threads."""
        while self._calls:
            await asyncio.wait([asyncio.wrap_future(future) for future in self._calls.copy()])
        self._pool.shutdown()

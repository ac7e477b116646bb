"""Reading the log up to a position that was settled once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from eventstore.backend import Backend, Direction, LogPage
from eventstore.errors import StoreUnavailable
from eventstore.events import RecordedEvent
from eventstore.retries import Call

_LOOKS: Final = 20
_LOOK_FOR: Final = 0.5
"""How often, and for how many seconds each, the end of the log is waited for while appends in flight hide it."""

_FIRST_PAGE: Final = 10
_LARGEST_PAGE: Final = 250
_BYTES: Final = 2**22
"""A page is in memory at once, and others wait for as long as it is worked on."""


class Log:
    """The log from its beginning up to a position, in pages of some megabytes, as far as events are of like sizes."""

    def __init__(self, backend: Backend, call: Call, head: int) -> None:
        self._backend = backend
        self._call = call
        self._head = head
        self._limit = _FIRST_PAGE

    async def pages(self) -> AsyncIterator[list[RecordedEvent]]:
        """Yield the events.

        Raises `StoreUnavailable` if appends in flight hide the end for long, as they may after a fail-over.
        """
        looked_to = looks = 0
        while looked_to < self._head:
            page: LogPage = await self._call(self._backend.read_all, looked_to, self._limit, Direction.FORWARD, None)
            # An engine in memory lets nobody else run.
            await asyncio.sleep(0)
            if page.looked_to > looked_to:
                looked_to, looks = page.looked_to, 0
                self._limit = min(_LARGEST_PAGE, 2 * self._limit)
                yield [event for event in page.events if event.global_position <= self._head]
                continue
            looks += 1
            if looks > _LOOKS:
                raise StoreUnavailable(
                    f"the log can be read up to position {looked_to} and not to {self._head}: appends in flight hide "
                    "the rest; try again once they have ended"
                )
            await self._call(self._backend.wait, looked_to, _LOOK_FOR)

    def was_of_size(self, events: int, size: int) -> None:
        """Tell how many bytes the events of a page were, so that the next one is not too large."""
        self._limit = max(1, min(self._limit, _BYTES * events // max(size, 1)))

"""Reading the log up to a position that was settled once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from eventstore.backend import Backend, Direction, LogPage
from eventstore.errors import StoreUnavailable
from eventstore.events import RecordedEvent
from eventstore.retries import Call

_LOOKS: Final = 20
_LOOK_FOR: Final = 0.5
"""How often, and for how many seconds each, the end of the log is waited for while appends in flight hide it."""


async def log_up_to(backend: Backend, call: Call, head: int, page_size: int) -> AsyncIterator[list[RecordedEvent]]:
    """Yield the log from its beginning up to a position, in pages.

    Raises `StoreUnavailable` if appends in flight hide its end for long, as they may after a fail-over.
    """
    looked_to = looks = 0
    while looked_to < head:
        page: LogPage = await call(backend.read_all, looked_to, page_size, Direction.FORWARD, None)
        if page.looked_to > looked_to:
            looked_to = page.looked_to
            yield [event for event in page.events if event.global_position <= head]
            continue
        looks += 1
        if looks > _LOOKS:
            raise StoreUnavailable(
                f"the log can be read up to position {looked_to} and not to {head}: appends in flight hide the rest; "
                "try again once they have ended"
            )
        await call(backend.wait, looked_to, _LOOK_FOR)

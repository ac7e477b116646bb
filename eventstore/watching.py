"""Waiting for a log to grow: one look at its head for everybody who waits. For backends to use.

A wake-up is a hint: whoever is woken reads again, and may find nothing. None is lost, since who comes to wait has the
log looked at after that, whatever was noticed before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

from eventstore.cancellation import uninterrupted
from eventstore.errors import EventStoreError, StoreNotOpen

_log: Final = logging.getLogger("eventstore")


_PAUSE: Final = 4
"""How many times as long as a look took it is at least until the next one, up to a bound."""

_LONGEST_PAUSE: Final = 0.025


class Look(NamedTuple):
    """What a look at the log has found: its head, and in how many seconds to look again, unless nudged before."""

    head: int
    again_in: float | None = None


Nudge: TypeAlias = Callable[[], None]


class Watch:
    """Wakes those who wait for something after a position.

    While somebody waits one task looks at the log: at once when somebody comes or `nudge` is called, and else as often
    as the last look has said. Looking takes no more than a fifth of the time: under load readers find more at a time,
    and leave the rest to the writers. `listen`, if there is one, runs beside it and calls what it is given whenever the
    engine tells that something was committed. `linger` seconds after the last one has left both end: who reads a page
    comes back soon, and what listens may be dear to set up.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Look]],
        listen: Callable[[Nudge], Coroutine[Any, Any, None]] | None = None,
        *,
        linger: float = 0,
    ) -> None:
        self._look = look
        self._listen = listen
        self._linger = linger
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._nudged = asyncio.Event()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def nudge(self) -> None:
        """Have the log looked at, if anybody waits; costs nothing otherwise."""
        self._nudged.set()

    async def wait(self, after: int, timeout: float) -> None:
        """Return when the log may have something after a position, at the latest after `timeout` seconds.

        Raises `StoreNotOpen` when the watch is closed, before or meanwhile.
        """
        if self._is_closed:
            raise StoreNotOpen("the store", closed=True)
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = after
        self._arrived.set()
        self._nudged.set()
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="eventstore watch")
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait([woken], timeout=timeout)
        finally:
            del self._waiting[woken]
            if not self._waiting:
                self._nudged.set()
        if self._is_closed:
            raise StoreNotOpen("the store", closed=True)

    async def close(self) -> None:
        """Wake everybody, and stop looking; completes also when cancelled."""
        self._is_closed = True
        self._wake()
        await uninterrupted(_ended(self._tasks))

    async def _watch(self) -> None:
        listening = asyncio.create_task(self._listen(self.nudge), name="eventstore listen") if self._listen else None
        try:
            while self._waiting or await _is_set(self._arrived, self._linger):
                self._arrived.clear()
                self._nudged.clear()
                begin = time.monotonic()
                look = await self._look()
                self._wake(look.head)
                looked = time.monotonic()
                await _is_set(self._nudged, look.again_in)
                pause = min(_PAUSE * (looked - begin), _LONGEST_PAUSE)
                await asyncio.sleep(pause - (time.monotonic() - looked))
        except EventStoreError as error:
            # They find out by themselves when they read.
            _log.debug("the log could not be looked at: %s", error)
        finally:
            # Who comes from now on needs another task.
            self._task = None
            self._wake()
            if listening is not None:
                await uninterrupted(_ended({listening}))

    def _wake(self, head: int | None = None) -> None:
        for woken, after in self._waiting.items():
            if (head is None or after < head) and not woken.done():
                woken.set_result(None)


async def _is_set(event: asyncio.Event, timeout: float | None) -> bool:
    """Wait for an event, no longer than `timeout` seconds; tell whether it came."""
    if timeout is None or event.is_set():
        return await event.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            return await event.wait()
    return False


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(set(tasks))

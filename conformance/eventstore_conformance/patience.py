"""Bounds in time: a store that goes on for ever fails a test, by name, and does not hang the run."""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, Final, TypeVar

from eventstore import EventStore

T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])

PATIENCE: Final = 60.0
"""Seconds that a test may take, or one of its examples, unless the author of the backend says otherwise."""

GRACE: Final = 1.0
"""Seconds in which a call that was cancelled ends."""


class WentOnForEver(BaseException):
    """Something did not end in its time.

    It is no `Exception`, as a keyboard interrupt is none: neither a test that expects the store to refuse a call nor
    Hypothesis, which would look for a smaller example of it, takes it for an answer.
    """


async def in_time(call: Awaitable[T], what: str, seconds: float = PATIENCE) -> T:
    """Return what a call returns; if it takes longer, cancel it and raise `WentOnForEver`."""
    __tracebackhide__ = True
    limit = asyncio.timeout(seconds)
    try:
        with interrupting(seconds + GRACE):
            async with limit:
                return await call
    except (TimeoutError, WentOnForEver) as error:
        if isinstance(error, TimeoutError) and not limit.expired():
            raise
        raise WentOnForEver(f"{what} went on for more than {seconds:g} s; above is where it was then") from error


@contextmanager
def interrupting(seconds: float) -> Iterator[None]:
    """Raise `WentOnForEver` in the middle of whatever this thread does then: a loop that never awaits, say.

    Nothing else ends such a loop from within, on every system: what `asyncio` cancels must await, and signals are
    handled between two steps of the event loop. Needs CPython; elsewhere it does nothing.
    """
    raise_in = getattr(getattr(ctypes, "pythonapi", None), "PyThreadState_SetAsyncExc", lambda *_: None)
    thread = ctypes.c_ulong(threading.get_ident())
    ended = threading.Event()

    def watch() -> None:
        # Again and again: another task may be in such a loop, too.
        wait = seconds
        while not ended.wait(wait):
            raise_in(thread, ctypes.py_object(WentOnForEver))
            wait = GRACE

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        # What was raised at the last moment comes at the end of a step, so let it come here. (To take it back would
        # leave CPython 3.11 looking for it at every step from then on; under a tracer nothing else gets done.)
        for _ in range(2):
            pass


@asynccontextmanager
async def opened(store: EventStore, seconds: float) -> AsyncIterator[EventStore]:
    """Open a store and close it, each in its time."""
    try:
        await in_time(store.open(), "opening the store", seconds)
        yield store
    finally:
        await in_time(store.close(), "closing the store", seconds)


def bounds_itself(test: Test) -> Test:
    """Mark a test that runs for as long as it likes, and sees to it that each of its calls ends."""
    test.bounds_itself = True  # type: ignore[attr-defined]
    return test


def bound_tests(chapter: type) -> None:
    """Bound every test of a chapter in time; where Hypothesis runs it, every example."""
    for name, member in list(vars(chapter).items()):
        if not name.startswith("test_") or hasattr(member, "bounds_itself"):
            continue
        if hasattr(member, "hypothesis"):
            member.hypothesis.inner_test = bounded(member.hypothesis.inner_test)
        elif inspect.iscoroutinefunction(member):
            setattr(chapter, name, bounded(member))


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the test, bounded in time."""

    @wraps(test)
    async def test_in_time(self: Any, **fixtures: Any) -> None:
        __tracebackhide__ = True
        await in_time(test(self, **fixtures), test.__name__, self.time_limit)

    return test_in_time

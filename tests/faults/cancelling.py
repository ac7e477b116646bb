"""Cancelling a call, or doing something beside it, at each suspension of all that works for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from types import coroutine
from typing import Any, NamedTuple

PATIENCE = 30.0
TIMES = 5
"""How often a call is cancelled again and again."""


class Moment(Enum):
    """When a call is cancelled while a task of it waits for something."""

    WHEN_IT_BEGINS_TO_WAIT = "begins to wait"
    WHEN_THE_WAIT_IS_OVER = "has got what it waited for, and does not know it yet"
    AGAIN_AND_AGAIN = "begins to wait, and is cancelled again in each wait of its cleaning up"


class Cancelled(NamedTuple):
    """Whether the call came so far as to be cancelled, and whether it had returned all the same."""

    was_reached: bool
    has_returned: bool


async def cancelled_at(suspension: int, moment: Moment, work: Coroutine[Any, Any, object]) -> Cancelled:
    """Run a call in a task, and cancel it at the so-many-th suspension from now on. What the call raises is raised.

    Suspensions of the tasks that are begun meanwhile count as well: a group commit is written by a task of its own.
    """
    suspensions = _Suspensions(suspension, moment, lambda: task.cancel())
    returned: list[object] = []

    async def call() -> None:
        returned.append(await work)

    with _tasks_made_by(suspensions.counted):
        task = asyncio.create_task(call())
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
        task.print_stack()
        raise AssertionError(f"cancelled at suspension {suspension}, it hangs")
    if not task.cancelled():
        task.result()
        assert not suspensions.was_reached, "the cancellation was swallowed"
    return Cancelled(suspensions.was_reached, bool(returned))


async def interrupted_at(suspension: int, act: Callable[[], object], work: Coroutine[Any, Any, object]) -> bool:
    """Run a call, and do something at the so-many-th suspension from now on; tell whether it came so far."""
    suspensions = _Suspensions(suspension, Moment.WHEN_IT_BEGINS_TO_WAIT, lambda: act() is not None)
    with _tasks_made_by(suspensions.counted):
        async with asyncio.timeout(PATIENCE):
            await asyncio.create_task(work)
    # Tasks that tell others of a commit may outlive the call.
    suspensions.end()
    return suspensions.was_reached


class _Suspensions:
    def __init__(self, suspension: int, moment: Moment, act: Callable[[], bool]) -> None:
        self._left = suspension
        self._moment = moment
        self._act = act
        self.was_reached = False

    def end(self) -> None:
        self._left = -TIMES

    @coroutine
    def counted(self, work: Coroutine[Any, Any, object]) -> Generator[Any, None, object]:
        """Do what the coroutine does, and take note of each suspension."""
        resume: Callable[[], object] = partial(work.send, None)
        while True:
            try:
                awaited = resume()
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0 or (self._moment is Moment.AGAIN_AND_AGAIN and -TIMES < self._left < 0):
                self._act_at(awaited)
            try:
                yield awaited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:
                resume = partial(work.throw, error)
            else:
                resume = partial(work.send, None)

    def _act_at(self, awaited: object) -> None:
        # A bare yield, as of `sleep(0)`, is over at once.
        if self._moment is Moment.WHEN_THE_WAIT_IS_OVER and isinstance(awaited, asyncio.Future):
            # Before the task's own callback, which wakes it.
            awaited.add_done_callback(self._act_now)
        else:
            self._act_now()

    def _act_now(self, _: object = None) -> None:
        self.was_reached = self._act() or self.was_reached


@contextmanager
def _tasks_made_by(counted: Callable[[Any], Any]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(lambda loop, work, **options: asyncio.Task(counted(work), loop=loop, **options))
    try:
        yield
    finally:
        loop.set_task_factory(before)

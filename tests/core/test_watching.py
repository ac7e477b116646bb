"""One look at the log for everybody who waits."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import StoreNotOpen, StoreUnavailable
from eventstore.watching import Look, Nudge, Watch

pytestmark = pytest.mark.asyncio

LONG = 3600.0


class Log:
    """A log that is looked at."""

    def __init__(self) -> None:
        self.head = 0
        self.looks = 0
        self.again_in: float | None = None
        self.failure: Exception | None = None

    async def look(self) -> Look:
        self.looks += 1
        if self.failure:
            raise self.failure
        return Look(self.head, self.again_in)


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_nobody_looks_while_nobody_waits() -> None:
    log = Log()
    watch = Watch(log.look)
    watch.nudge()
    await turns()
    assert log.looks == 0
    assert len(asyncio.all_tasks()) == 1


async def test_what_is_there_already_is_not_waited_for() -> None:
    log = Log()
    log.head = 5
    watch = Watch(log.look)
    await watch.wait(4, LONG)


async def test_those_are_woken_who_wait_for_less() -> None:
    log = Log()
    watch = Watch(log.look)
    waiting = [asyncio.create_task(watch.wait(after, LONG)) for after in range(10)]
    await turns()
    log.head = 6
    watch.nudge()
    await turns()
    assert [task.done() for task in waiting] == [True] * 6 + [False] * 4
    await watch.close()
    for task in waiting[6:]:
        with pytest.raises(StoreNotOpen):
            await task


async def test_all_who_wait_share_a_look() -> None:
    log = Log()
    watch = Watch(log.look)
    waiting = [asyncio.create_task(watch.wait(0, LONG)) for _ in range(1_000)]
    await turns()
    assert log.looks <= 2
    log.head = 1
    watch.nudge()
    await asyncio.gather(*waiting)
    assert log.looks <= 4


async def test_a_wait_ends_with_its_time() -> None:
    await Watch(Log().look).wait(0, 0.001)


async def test_the_log_is_looked_at_again_when_the_look_says_so() -> None:
    log = Log()
    log.again_in = 0.001
    watch = Watch(log.look)
    waiting = asyncio.create_task(watch.wait(0, LONG))
    while log.looks < 3:  # noqa: ASYNC110 - the look tells nobody
        await asyncio.sleep(0.001)
    log.head = 1
    await waiting


async def test_who_waits_is_woken_to_find_out_why_the_log_cannot_be_looked_at() -> None:
    log = Log()
    log.failure = StoreUnavailable("gone")
    await Watch(log.look).wait(0, LONG)


async def test_an_error_of_ones_own_is_not_hidden_from_those_who_wait() -> None:
    log = Log()
    log.failure = ZeroDivisionError()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    await Watch(log.look).wait(0, LONG)
    await turns()
    import gc

    gc.collect()
    assert failures == [log.failure]


async def test_what_listens_ends_with_the_last_who_waits() -> None:
    listening: list[str] = []

    async def listen(nudge: Nudge) -> None:
        listening.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            listening.append("ended")

    log = Log()
    watch = Watch(log.look, listen)
    waiting = asyncio.create_task(watch.wait(0, LONG))
    await turns()
    assert listening == ["begun"]
    waiting.cancel()
    await turns()
    assert listening == ["begun", "ended"]
    await watch.wait(0, 0.001)
    await turns()
    assert listening == ["begun", "ended", "begun", "ended"]
    assert len(asyncio.all_tasks()) == 1

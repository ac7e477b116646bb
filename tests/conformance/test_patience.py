"""What goes on for ever fails, and says what it was."""

import asyncio
import threading
from functools import partial

import pytest

from eventstore import EventStore, Filter
from eventstore.backend import Direction, LogPage
from eventstore.operations import Limits
from eventstore_conformance.filters import Filters
from eventstore_conformance.observing import collect
from eventstore_conformance.patience import WentOnForEver, in_time, opened
from eventstore_conformance.stateful import Stateful
from eventstore_memory import MemoryBackend

# A loop that is interrupted may just have made a coroutine.
pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")]


class Stuck(MemoryBackend):
    """Where nothing matches, a filtered page stays where it is, and so does whoever reads on: without ever awaiting."""

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        return page if page.events or filter is None else LogPage([], start or 0, at_end=False)


class StuckElsewhere(Stuck):
    """The same, with a database to wait for."""

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        await asyncio.sleep(0)
        return await super().read_all(start, limit, direction, filter)


class Deaf(MemoryBackend):
    """Never opens."""

    async def open(self) -> None:
        await asyncio.Event().wait()


class Hasty(Filters, Stateful):
    time_limit = 0.05


def small_pages(backend: MemoryBackend) -> EventStore:
    return EventStore(backend, limits=Limits(page_size=3))


@pytest.mark.parametrize("stuck", [Stuck, StuckElsewhere])
async def test_a_test_that_never_ends_fails_by_its_name(stuck: type[Stuck]) -> None:
    async with small_pages(stuck()) as store:
        with pytest.raises(WentOnForEver, match="test_a_sparse_filter_finds_what_is_far_away went on for more than"):
            await Hasty().test_a_sparse_filter_finds_what_is_far_away(small_pages_store=store)
        assert await collect(store.read_all()) != []


@pytest.mark.parametrize("stuck", [Stuck, StuckElsewhere])
async def test_the_machine_ends_with_the_call_that_does_not(stuck: type[Stuck]) -> None:
    with pytest.raises(WentOnForEver, match=r"^one call of the machine"):
        await Hasty().test_any_sequence_of_calls_does_what_the_model_does(partial(small_pages, stuck()))


async def test_opening_a_store_is_bounded() -> None:
    with pytest.raises(WentOnForEver, match="opening the store"):
        async with opened(EventStore(Deaf()), 0.05):
            pass


async def test_several_tasks_that_never_await_are_all_ended() -> None:
    async def turn_for_ever() -> None:
        while True:
            pass

    with pytest.raises(WentOnForEver, match="both"):
        await in_time(asyncio.gather(turn_for_ever(), turn_for_ever()), "both", 0.05)


async def test_a_store_that_raises_a_timeout_error_is_not_taken_to_be_slow() -> None:
    async def time_out() -> None:
        raise TimeoutError("of the driver's")

    with pytest.raises(TimeoutError, match="of the driver's"):
        await in_time(time_out(), "it")


async def test_what_ends_in_time_leaves_nothing_behind() -> None:
    threads = threading.active_count()
    assert await in_time(asyncio.sleep(0, "done"), "it") == "done"
    assert threading.active_count() == threads

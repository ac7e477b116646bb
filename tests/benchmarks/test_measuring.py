"""The benchmarks say what was measured, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from benchmarks.measuring import Fact, Mark, NotThere, Result, Sample, Turn, race, repeat, repeat_in_thread, together
from benchmarks.reporting import lines_of, missed, show


def result(**samples: list[Sample]) -> Result:
    return Result("X1", "a race", "pieces/s", samples, marks=[Mark("floor", 0.8), Mark("floor", most_p99=1.0)])


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    # The machine became ten times as slow after the first round: the medians alone would say 1.
    ours = [Sample(100, 1.0), Sample(5, 1.0), Sample(5, 1.0)]
    floor = [Sample(200, 1.0), Sample(10, 1.0), Sample(1, 1.0)]
    assert result(ours=ours, floor=floor).ratio("ours", "floor") == 0.5


def test_percentiles_are_those_of_all_pieces() -> None:
    sample = Sample(100, 1.0, [n / 1000 for n in range(100, 0, -1)])
    assert sample.percentile(50) == 0.051
    assert sample.percentile(99) == 0.1


def test_a_mark_is_reached_or_missed_by_its_ratio() -> None:
    fast, slow = [Sample(8, 1.0, [0.1])], [Sample(10, 1.0, [0.2])]
    found = result(ours=fast, floor=slow)
    assert [found.reached(mark) for mark in found.marks] == [(0.8, True), (0.5, True)]
    found = result(ours=[Sample(7, 1.0, [0.3])], floor=slow)
    assert missed([found]) == ["X1: ours >= 0.8 x floor: 0.70", "X1: ours p99 <= 1 x floor: 1.50"]


def test_a_mark_without_its_reference_is_neither_reached_nor_missed() -> None:
    found = result(ours=[Sample(1, 1.0)])
    assert [found.reached(mark) for mark in found.marks] == [None, None]
    assert missed([found]) == []


def test_facts_keep_their_bounds_or_are_missed() -> None:
    found = result()
    found.facts += [Fact("delay", 6, "ms", most=5), Fact("rate", 6, "x", least=5), Fact("size", 6, "MiB")]
    assert [fact.holds for fact in found.facts] == [False, True, None]
    assert missed([found]) == ["X1: delay: 6"]


def test_together_pieces_add_up_and_the_slowest_tells_the_time() -> None:
    assert together([Sample(3, 1.0, [0.1]), Sample(4, 2.0, [0.2])]) == Sample(7, 2.0, [0.1, 0.2])


def test_work_is_done_at_least_once() -> None:
    done: list[int] = []
    assert repeat_in_thread(0, done.append, pieces=5).done == 5
    assert done == [0]


@pytest.mark.asyncio
async def test_each_task_works_at_least_once() -> None:
    done: list[tuple[int, int]] = []

    async def work(task: int, number: int) -> None:
        done.append((task, number))

    assert (await repeat(0, 3, work)).done == 3
    assert done == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.asyncio
async def test_contestants_take_turns_and_each_begins_a_round() -> None:
    order: list[str] = []

    def contestant(name: str) -> Callable[[], AbstractAsyncContextManager[Turn]]:
        @asynccontextmanager
        async def prepare() -> AsyncIterator[Turn]:
            async def turn() -> Sample:
                order.append(name)
                return await repeat(0, 1, lambda task, number: asyncio.sleep(0))

            yield turn
            order.append(f"{name} left")

        return prepare

    @asynccontextmanager
    async def absent() -> AsyncIterator[Turn]:
        raise NotThere("it is not installed")
        yield

    found = Result("X1", "a race", "pieces/s")
    await race(found, {"a": contestant("a"), "b": contestant("b"), "c": absent}, rounds=3)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b", "b left", "a left"]
    assert {name: len(samples) for name, samples in found.samples.items()} == {"a": 3, "b": 3}
    assert found.absent == {"c": "it is not installed"}


def test_the_table_and_the_lines_name_every_contestant_mark_and_fact() -> None:
    found = result(ours=[Sample(7, 1.0, [0.3])], floor=[Sample(10, 1.0, [0.2])])
    found.absent["peer"] = "the package is not installed"
    found.facts.append(Fact("delay", 6, "ms", most=5))
    console = Console(width=160, record=True, file=StringIO())
    show(console, [found])
    text = console.export_text()
    for word in (
        "a race",
        "ours",
        "floor",
        "0.70",
        "MISSED: ours >= 0.8 x floor",
        "the package is not installed",
        "<= 5",
    ):
        assert word in text
    lines = [msgspec.json.decode(line) for line in lines_of([found], {"machine": "this one"})]
    assert [line["kind"] for line in lines] == ["conditions", *2 * ["contestant"], "absent", *2 * ["mark"], "fact"]
    assert [line["reached"] for line in lines if line["kind"] == "mark"] == [False, False]

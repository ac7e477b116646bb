"""Contestants that take turns at the same work, and the ratios between them.

Machines differ and drift, so no figure is judged by itself: in each round every contestant works once, one right after
the other, and what is reported is the median over the rounds of the ratio within each.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn: so much work in so many seconds; and, where it was noted, how long each piece took."""

    done: int
    seconds: float
    latencies: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Pieces of work a second."""
        return self.done / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the latency in seconds that so many percent of the pieces did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


Turn: TypeAlias = Callable[[], Awaitable[Sample]]
"""Works once."""

Contestant: TypeAlias = Callable[[], AbstractAsyncContextManager[Turn]]
"""Prepares what it needs, and cleans up afterwards."""


class NotThere(Exception):
    """A reference that this machine does not have; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What ours is to reach: at least so many times the rate of a reference, or at most so many times its latency."""

    reference: str
    least: float | None = None
    most_p99: float | None = None
    ours: str = "ours"

    def __str__(self) -> str:
        if self.most_p99 is not None:
            return f"p99 <= {self.most_p99:g} x {self.reference}"
        return f">= {self.least:g} x {self.reference}"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something measured that is no race: a value, and the bound that it is to keep."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept, None where there is none."""
        if self.most is not None:
            return self.value <= self.most
        return None if self.least is None else self.value >= self.least


@dataclass(slots=True)
class Result:
    """What came of one row of the table."""

    row: str
    title: str
    unit: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    facts: list[Fact] = field(default_factory=list)

    def rate(self, name: str) -> float:
        """Return a contestant's median rate."""
        return median(sample.rate for sample in self.samples[name])

    def spread(self, name: str) -> tuple[float, float]:
        """Return a contestant's lowest and highest rate."""
        rates = [sample.rate for sample in self.samples[name]]
        return min(rates), max(rates)

    def p99(self, name: str) -> float | None:
        """Return a contestant's median 99th percentile in seconds, if it noted latencies."""
        noted = [sample.percentile(99) for sample in self.samples[name] if sample.latencies]
        return median(noted) if noted else None

    def ratio(self, ours: str, reference: str) -> float:
        """Return the median over the rounds of our rate by the reference's."""
        rounds = zip(self.samples[ours], self.samples[reference], strict=True)
        return median(one.rate / other.rate for one, other in rounds)

    def p99_ratio(self, ours: str, reference: str) -> float:
        """Return the median over the rounds of our 99th percentile by the reference's."""
        rounds = zip(self.samples[ours], self.samples[reference], strict=True)
        return median(one.percentile(99) / other.percentile(99) for one, other in rounds)

    def reached(self, mark: Mark) -> tuple[float, bool] | None:
        """Return the ratio of a mark and whether it is reached, None where the reference is not there."""
        if mark.reference not in self.samples or mark.ours not in self.samples:
            return None
        if mark.most_p99 is not None:
            ratio = self.p99_ratio(mark.ours, mark.reference)
            return ratio, ratio <= mark.most_p99
        ratio = self.ratio(mark.ours, mark.reference)
        return ratio, ratio >= (mark.least or 0)


async def race(result: Result, contestants: Mapping[str, Contestant], rounds: int) -> Result:
    """Let the contestants take turns, each beginning a round in its turn; whoever is not there is noted."""
    async with AsyncExitStack() as stack:
        turns: dict[str, Turn] = {}
        for name, contestant in contestants.items():
            try:
                turns[name] = await stack.enter_async_context(contestant())
            except NotThere as missing:
                result.absent[name] = str(missing)
        names = list(turns)
        for name in names:
            await turns[name]()  # connections, caches and prepared statements
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                gc.collect()
                result.samples.setdefault(name, []).append(await turns[name]())
    return result


async def repeat(
    seconds: float, tasks: int, work: Callable[[int, int], Awaitable[object]], *, pieces: int = 1
) -> Sample:
    """Call `work(task, number)` in so many tasks at a time until the seconds are over; each call is so many pieces.

    Each task calls at least once, so that no seconds at all mean one call.
    """
    latencies: list[float] = []
    clock = time.perf_counter
    begin = clock()
    end = begin + seconds

    async def go_on(task: int) -> None:
        before = clock()
        for number in count():
            await work(task, number)
            after = clock()
            latencies.append(after - before)
            before = after
            if after >= end:
                break

    await asyncio.gather(*map(go_on, range(tasks)))
    return Sample(len(latencies) * pieces, clock() - begin, latencies)


def repeat_in_thread(seconds: float, work: Callable[[int], object], *, pieces: int = 1) -> Sample:
    """The same for work that blocks, in the thread that calls."""
    latencies: list[float] = []
    clock = time.perf_counter
    begin = before = clock()
    end = begin + seconds
    while True:
        work(len(latencies))
        after = clock()
        latencies.append(after - before)
        before = after
        if after >= end:
            break
    return Sample(len(latencies) * pieces, clock() - begin, latencies)


def together(samples: Sequence[Sample]) -> Sample:
    """Return what several did at the same time as one sample."""
    latencies = [latency for sample in samples for latency in sample.latencies]
    return Sample(sum(sample.done for sample in samples), max(sample.seconds for sample in samples), latencies)

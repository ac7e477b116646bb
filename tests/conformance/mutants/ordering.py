"""Mutants whose positions are used twice, do not grow, or let readers pass what will yet come."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence

from eventstore import EventStore, Filter
from eventstore.backend import Appended, AppendedStream, Direction, LogPage, Outcome, StreamAppend, Transaction
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState, Database, SharedMemory

# --- Positions -------------------------------------------------------------------------------------------------------


@caught_by("ORDER-03", "ORDER-07")
class DrawsTheNextOfWhatIsLeft(CarelessState):
    """Draws `max(position) + 1`: when the last events were removed, their positions are used again."""

    def append(self, transaction: Transaction) -> Outcome:
        last = self._log[-1].position if self._log else 0
        self._positions = itertools.count(last + 1)
        self.head = last
        return super().append(transaction)


@caught_by("ORDER-05")
class GivesPositionsOfARollbackAgain(CarelessState):
    """Takes the positions back that a transaction drew which rolled back."""

    def copy(self) -> State:
        copy = super().copy()
        copy._positions = itertools.count(self.head + 1)
        return copy

    def append(self, transaction: Transaction) -> Outcome:
        self._positions = itertools.count(self.head + 1)
        return super().append(transaction)


@caught_by("ORDER-04")
class BeginsAgainWhenOpened(SharedMemory):
    """Keeps the last position in memory, and computes it from what is left when it is opened again."""

    async def open(self) -> None:
        await super().open()
        log = self._state._log
        self._state.head = log[-1].position if log else 0
        self._state._positions = itertools.count(self._state.head + 1)


@caught_by("ORDER-02", "LOG-01")
class DrawsPositionsByStream(CarelessState):
    """Draws positions from a block for each stream: the log is in the order of streams, not of time."""

    def _place(self, append: StreamAppend) -> AppendedStream:
        blocks = self.__dict__.setdefault("blocks", {})
        stream = blocks.setdefault(append.stream_id, itertools.count(1 + 1_000 * len(blocks)))
        shared, self._positions = self._positions, stream
        try:
            placed = super()._place(append)
        finally:
            self._positions = shared
        self._log.sort(key=lambda event: event.position)
        self.head = self._log[-1].position
        return placed


@caught_by("ORDER-06", "ORDER-08")
class CountsTheLogForItsHead(CarelessState):
    """Returns the number of events as the head: a bookmark far below where the log is, once there are holes."""

    def _place(self, append: StreamAppend) -> AppendedStream:
        next(self._positions)
        return super()._place(append)

    @property
    def head(self) -> int:
        return len(self._log)

    @head.setter
    def head(self, position: int) -> None:
        pass


@caught_by("ORDER-07")
class TakesTheLastEventForTheHead(CarelessState):
    """Returns the last position that is there: it goes back when events are removed."""

    @property
    def head(self) -> int:
        return self._log[-1].position if self._log else 0

    @head.setter
    def head(self, position: int) -> None:
        pass


@caught_by("ORDER-06", "ORDER-08")
class TakesTheHeadFromAReplica(EventStore):
    """Asks a replica for the head, which is behind: what was appended before lies above it."""

    async def head(self) -> int:
        return max(0, await super().head() - 1)


# --- Late commits ----------------------------------------------------------------------------------------------------


class LateCommits(SharedMemory):
    """Stores that draw positions before they commit, as a sequence does; a commit takes as long as its batch is long.

    What is open is known to all, so that a sound reader could be made of it.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.in_flight: set[int] = database.__dict__.setdefault("in_flight", set())

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes = [self._state.append(transaction) for transaction in transactions]
        drawn = {
            position
            for outcome in outcomes
            if isinstance(outcome, Appended)
            for stream in outcome.streams
            for position in stream.positions
        }
        self.in_flight |= drawn
        try:
            for _ in range(3 * (len(drawn) % 4)):
                await asyncio.sleep(0)
        finally:
            self.in_flight -= drawn
        return outcomes

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        seen = [event for event in page.events if event.global_position not in self.in_flight]
        return LogPage(seen, page.looked_to, page.at_end)


@caught_by("ORDER-09", "ORDER-10", "RACE-13")
class PassesWhatIsInFlight(LateCommits):
    """Reads `WHERE position > bookmark` of what is visible: an append that commits later is never read."""


@caught_by("ORDER-09", "ORDER-10", "RACE-13")
class GivesUpOnAGap(LateCommits):
    """Waits a moment at a gap, and passes it: a rolled-back append never comes, and a slow one comes too late."""

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        for _ in range(2):
            if not self.in_flight:
                break
            await asyncio.sleep(0)
        return await super().read_all(start, limit, direction, filter)


@caught_by("FAULT-01")
class BookmarksWhatIsInFlight(LateCommits):
    """Takes the last position drawn for the head: what commits late appears below a bookmark."""

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super(LateCommits, self).read_all(start, limit, direction, filter)
        settled = [event for event in page.events if event.global_position < min(self.in_flight, default=2**62)]
        if direction is Direction.BACKWARD or len(settled) == len(page.events):
            return page
        return LogPage(settled, settled[-1].global_position if settled else start or 0, at_end=True)


@caught_by("TX-09")
class ShowsTheHeadOfAnOpenTransaction(MemoryBackend):
    """Takes for the head what an open transaction has drawn: its events commit below the bookmark."""

    async def head(self) -> int:
        (next_one,) = re.findall(r"\d+", repr(self._state._positions))
        return int(next_one) - 1

"""Mutants that open, close and share what they keep otherwise than they claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventstore import Capability, EventStore, Filter
from eventstore.backend import Direction, LogPage, Outcome, Transaction
from eventstore.operations import Limits
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State, utc_now
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import Database, SharedMemory


@caught_by("OPEN-02", "OPEN-03")
class AnswersWhileClosed(EventStore):
    """Answers whether it is open or not, on a connection of the moment."""

    def _check_open(self) -> None:
        pass


@caught_by("OPEN-03")
class OpensAgain(EventStore):
    """Can be opened again after it was closed: who still has it writes on."""

    async def open(self) -> None:
        self._is_closed = False
        await super().open()


@caught_by("OPEN-04")
class BeginsAgainWithASecondOpen(EventStore):
    """Connects anew when it is opened a second time, and loses what it had."""

    async def open(self) -> None:
        if self._is_open:
            self._backend = MemoryBackend()
        await super().open()


@caught_by("OPEN-04", "OPEN-05")
class ClosesOnlyOnce(EventStore):
    """Fails when it is closed twice, or was never opened."""

    async def close(self) -> None:
        if not self._is_open:
            raise RuntimeError("cannot close what is not open")
        await super().close()


@caught_by("OPEN-06")
class StaysOpenAfterAnError(EventStore):
    """Leaves the store open when its block raises."""

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is None:
            await super().__aexit__(kind, error, traceback)


@caught_by("OPEN-07")
class CreatesTheSchemaAnew(MemoryBackend):
    """Drops the tables and creates them when it migrates."""

    async def migrate(self) -> None:
        self._state = State(utc_now)


@caught_by("OPEN-07")
class KnowsNoVersionOfItsSchema(MemoryBackend):
    """Says that there is no schema."""

    async def schema_version(self) -> int:
        return 0


@caught_by("OPEN-08", "ORDER-04")
class ClaimsToBeDurable(MemoryBackend):
    """Claims `DURABLE` and keeps everything in memory."""

    capabilities = frozenset({Capability.DURABLE, Capability.TRANSACTIONS})


@caught_by("OPEN-09")
class ClaimsToBeShared(MemoryBackend):
    """Claims `SHARED`, and each store has a memory of its own."""

    capabilities = frozenset({Capability.SHARED, Capability.TRANSACTIONS})


@caught_by("OPEN-09", "ORDER-09")
class ReadsACacheOfItsOwn(SharedMemory):
    """Reads the log from a cache that its own appends bring up to date: what others write is missing."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.cache = database.state.copy()

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes = await super().append(transactions)
        self.cache = self.database.state.copy()
        return outcomes

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        return self.cache.read_all(start, limit, direction, filter)


@caught_by("OPEN-10")
class ClaimsSqlWithoutTransactions(MemoryBackend):
    """Claims that the caller's SQL joins in, and has no transactions."""

    capabilities = frozenset({Capability.SQL_TRANSACTIONS})


@caught_by("OPEN-11")
def takes_any_option(**options: Any) -> EventStore:
    """Takes options out of range, and goes on with its own."""
    options.pop("retry_timeout", None)
    try:
        return EventStore(MemoryBackend(), limits=Limits(**options), retry_timeout=0)
    except ValueError:
        return EventStore(MemoryBackend(), retry_timeout=0)


@caught_by("OPEN-12")
class ServesAnyEventLoop(EventStore):
    """Takes calls from whatever event loop they come: on a driver of asyncio they would wait for ever."""

    def _check_owner(self) -> None:
        pass

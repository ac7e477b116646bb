"""Partitions of `events`, made ahead of the log, so that there is always one more than is being filled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection

from eventstore.backend import Appended, Deferred, Outcome
from eventstore.errors import EventStoreError
from eventstore_postgres.fetching import fetch
from eventstore_postgres.queries import Queries

_log: Final = logging.getLogger("eventstore")

SMALLEST_PARTITION: Final = 10
"""Events in a partition, at least. So few are for tests: docs/partitioning.md."""

_TRIES: Final = 10

_AGAIN_AFTER: Final = 100
"""Positions after which it is tried once more to make a partition ahead, where that has failed."""

T = TypeVar("T")

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


class Partitions:
    """Those of one store. Does nothing until it is opened, which is for stores that are partitioned."""

    def __init__(self, queries: Queries, connect: Connect) -> None:
        """`connect` opens a connection of its own: those of the pool may all be waiting for what is made here."""
        self._queries = queries
        self._connect = connect
        self._again_above: int | None = None
        self._making: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def open(self, connection: AsyncConnection) -> None:
        """Make those that are missing, if this role and this server can."""
        self._again_above = 0
        try:
            await self._make_on(connection, 0)
        except psycopg.Error as error:
            # Readers do without, and who appends asks again.
            _log.debug("no partition could be made when the store was opened: %s", error)

    def note(self, outcomes: Sequence[Outcome | Deferred]) -> None:
        """Have the next partition made, in a task of its own, when appends have come far enough."""
        if self._again_above is None or self._making is not None:
            return
        appended = (outcome for outcome in outcomes if isinstance(outcome, Appended))
        self.note_position(max((stream.positions[-1] for outcome in appended for stream in outcome.streams), default=0))

    def note_position(self, highest: int) -> None:
        """Have the next partition made, in a task of its own, when the log has come far enough."""
        if self._again_above is not None and self._making is None and highest > self._again_above:
            self._making = asyncio.create_task(self._make_ahead(highest), name="eventstore partitions")

    async def with_room(self, write: Callable[[], Awaitable[T]], count_events: Callable[[], int] = int) -> T:
        """Do what inserts events, and again where a partition was missing and is made now.

        `write` must leave the connection usable where it fails. `count_events` is asked then how many it inserts.
        """
        for _ in range(_TRIES):
            try:
                return await write()
            except psycopg.errors.CheckViolation as error:
                if self._again_above is None or not lacks_partition(error):
                    raise
            # Each try draws its positions anew.
            await self._make(count_events())
        return await write()

    async def close(self) -> None:
        """Return when nothing is being made any more."""
        if self._making is not None:
            await asyncio.wait([self._making])

    async def _make_ahead(self, highest: int) -> None:
        try:
            await self._make(0)
        except EventStoreError as error:
            _log.warning("no partition could be made ahead of the log: %s", error)
            # Not for every append that follows: who finds no partition at last asks for itself.
            self._again_above = highest + _AGAIN_AFTER
        finally:
            self._making = None

    async def _make(self, expected: int) -> None:
        async with self._one_at_a_time, self._connect() as connection:
            await self._make_on(connection, expected)

    async def _make_on(self, connection: AsyncConnection, expected: int) -> None:
        # In a transaction, so that it has the isolation of the connection and not the server's default: what others
        # have made meanwhile must be seen.
        async with connection.transaction():
            ((self._again_above,),) = await fetch(connection, self._queries["make_partitions"], {"expected": expected})


def lacks_partition(error: psycopg.errors.CheckViolation) -> bool:
    """Tell whether there was no partition for a row; a constraint that is violated would have a name."""
    return error.diag.constraint_name is None and error.diag.table_name == "events"

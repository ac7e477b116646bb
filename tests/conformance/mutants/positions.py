"""Mutants in a real Postgres: the known ways to read a log by positions that are drawn before they commit."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import AsyncConnection

from eventstore import RecordedEvent
from eventstore_postgres import PostgresBackend
from eventstore_postgres.queries import Queries
from eventstore_postgres.settled import SettledLog
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.worlds import InPostgres


def rewrite(queries: Queries, query: str, old: str, new: str) -> None:
    """Replace a text in a query of the backend, the first time that it occurs."""
    text = queries[query].decode()
    assert old in text, f"{query} has changed: {old!r} is not in it"
    queries._statements[query] = text.replace(old, new, 1).encode()


# --- Readers ---------------------------------------------------------------------------------------------------------


class _Naive(SettledLog):
    async def _observe(self) -> int:
        top = await super()._observe()
        self._mark = max(self._mark, top)
        return top

    def _settled_part(self, events: list[RecordedEvent], start: int, mark: int) -> list[RecordedEvent]:
        return events


class _NaiveBackend(PostgresBackend):
    log: type[SettledLog] = _Naive

    def __init__(self, conninfo: str, **options: Any) -> None:
        super().__init__(conninfo, **options)
        self._log = self.log(self._queries, options["settle_timeout"], self._connected)


@caught_by("FAULT-01", "ORDER-13", "SUB-21")
class ReadsPositionsAboveTheLast(InPostgres):
    """Reads `WHERE global_position > last`: what commits late, below a position that was seen, is never read."""

    kind = _NaiveBackend


class _Patient(SettledLog):
    async def _settle(self, position: int) -> bool:
        if not await super()._settle(position):
            self._mark = max(self._mark, position)
        return True


class _PatientBackend(_NaiveBackend):
    log = _Patient


@caught_by("ORDER-13")
class GivesUpOnAHole(InPostgres):
    """Waits at a hole until a time-out: a commit that is slower than that is lost."""

    kind = _PatientBackend


class _HorizonBackend(_NaiveBackend):
    def __init__(self, conninfo: str, **options: Any) -> None:
        super().__init__(conninfo, **options)
        below = "xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        for query in ("read_all_forward", "read_all_backward"):
            rewrite(self._queries, query, " AND ", f" AND {below} AND ")
        rewrite(self._queries, "top", "events)", f"events WHERE {below})")


@caught_by("ORDER-15")
class GoesByTransactionIds(InPostgres):
    """Reads what is below the oldest open transaction (`xid < pg_snapshot_xmin`): an idle one holds all readers up."""

    kind = _HorizonBackend


class _CachedBackend(PostgresBackend):
    """Draws ten positions at a time for each connection."""

    async def open(self) -> None:
        await self._cache(1)
        await super().open()
        await self._cache(10)

    async def _cache(self, number: int) -> None:
        async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            sequence = self._queries.qualified("events_global_position_seq")
            try:
                await connection.execute(f"ALTER SEQUENCE {sequence} CACHE {number}".encode())
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return


@caught_by("ORDER-12")
class DrawsTenPositionsAtATime(InPostgres):
    """Has a sequence with a cache: each connection hands out its block, whatever others have handed out since."""

    kind = _CachedBackend


# --- Writers ---------------------------------------------------------------------------------------------------------


class _IgnoringBackend(PostgresBackend):
    def __init__(self, conninfo: str, **options: Any) -> None:
        super().__init__(conninfo, **options)
        returning = "RETURNING version, global_position, created_at"
        rewrite(self._queries, "append", returning, f"ON CONFLICT DO NOTHING\n{returning}")


@caught_by("APPEND-13")
class DoesNothingOnConflict(InPostgres):
    """Inserts with `ON CONFLICT DO NOTHING`: of two writers at one version both are told that they have written."""

    kind = _IgnoringBackend

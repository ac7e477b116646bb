"""Restoring what another store recorded: events with their versions and times, and streams with no event left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import psycopg
from psycopg import AsyncConnection

from eventstore.backend import Conflict, RestoredEvent, StreamState
from eventstore.batches import first_events
from eventstore_postgres.appending import DECIDING_INDEXES, columns_of, find_facts
from eventstore_postgres.arrays import BigintArray, TextArray, TimeArray
from eventstore_postgres.fetching import fetch
from eventstore_postgres.queries import Queries
from eventstore_postgres.session import PostgresSession


class RestoringSession(PostgresSession):
    """Implements what `eventstore.backend.Backend` has under `RESTORE`, outside transactions."""

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events as another store recorded them, or say why not."""
        if not events:
            return ()
        async with self._connected(writes=True) as connection:
            restore = partial(_restore, self._queries, connection, events)
            outcome = await self._partitions.with_room(restore, events.__len__)
        if not isinstance(outcome, Conflict):
            self._partitions.note_position(outcome[-1])
        return outcome

    async def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        """Let a stream without events be at a version, or return its state."""
        async with self._connected(writes=True) as connection:
            return await self._guarded(connection, partial(self._restore_stream, connection, stream_id, version))

    async def _restore_stream(self, connection: AsyncConnection, stream_id: str, version: int) -> StreamState | None:
        async with connection.transaction():
            await self._lock(connection, stream_id)
            _, _, found, deleted, created_at = await self._head(connection, stream_id)
            infos = await self._infos(connection, [stream_id])
            has_events = bool(infos) and infos[0].first_version <= found
            if has_events or deleted or found > version:
                return StreamState(stream_id, found, deleted)
            if found == version:
                # Sent again, it is about to be acknowledged: not before it is as safe as when it is done.
                await self._fetch(connection, "confirm", {})
                return None
            # Writing down a version would not stop an append in flight, nor one that does not see it yet.
            guard = {"stream_id": stream_id, "version": found + 1}
            ((position,),) = await self._fetch(connection, "guard_stream", guard)
            await self._fetch(connection, "allow_removal", {"allowed": "allowed"})
            await connection.execute(self._queries["remove_guard"], {"position": position})
            await self._fetch(connection, "allow_removal", {"allowed": ""})
            await self._save_lifecycle(
                connection, stream_id, version, version + 1, created_at, deleted=False, last_position=0
            )
            return None


async def _restore(
    queries: Queries, connection: AsyncConnection, events: Sequence[RestoredEvent]
) -> tuple[int, ...] | Conflict:
    firsts = first_events(events)
    try:
        rows = await fetch(connection, queries["restore"], _parameters(events, firsts))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name not in DECIDING_INDEXES:
            raise
        rows = []
    if rows:
        return tuple(position for (position,) in rows)
    ids = [event.event.event_id for event in events]
    states, stored = await find_facts(queries, connection, list(firsts), ids)
    return Conflict(
        tuple(states[stream_id] for stream_id in firsts),
        tuple(stored[event_id] for event_id in ids if event_id in stored),
    )


def _parameters(events: Sequence[RestoredEvent], firsts: dict[str, RestoredEvent]) -> dict[str, object]:
    numbers = {stream_id: number for number, stream_id in enumerate(firsts, 1)}
    return {
        "stream_ids": TextArray(firsts),
        "first_versions": BigintArray([first.version for first in firsts.values()]),
        "first_times": TimeArray([first.created_at for first in firsts.values()]),
        "numbers": BigintArray([numbers[event.stream_id] for event in events]),
        "versions": BigintArray([event.version for event in events]),
        "times": TimeArray([event.created_at for event in events]),
        **columns_of([event.event for event in events]),
    }

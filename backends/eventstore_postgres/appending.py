"""Appends as parameters of the statements that store them, and their rows as outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.types.numeric import Int8

from eventstore.backend import (
    Appended,
    AppendedStream,
    Conflict,
    Deferred,
    EncodedEvent,
    Outcome,
    StreamState,
    Transaction,
)
from eventstore.batches import Batch, batches
from eventstore.events import RecordedEvent
from eventstore.versions import version_range
from eventstore_postgres.arrays import BigintArray, TextArray, UuidArray
from eventstore_postgres.fetching import fetch
from eventstore_postgres.jsonb import jsonb_text
from eventstore_postgres.partitions import lacks_partition
from eventstore_postgres.queries import Queries
from eventstore_postgres.rows import recorded_event, time_of

# The unique indexes that decide races; any other, the user's own say, is none of ours to try again for.
DECIDING_INDEXES: Final = ("events_event_id_key", "events_stream_id_version_key")

LOCK_TIMEOUT: Final = "100ms"
"""How long a group waits for somebody else's transaction; then each of its own goes alone, and waits alone."""

_TRIES: Final = 3

_position = itemgetter(2)


async def append_all(
    queries: Queries, connection: AsyncConnection, transactions: Sequence[Transaction]
) -> list[Outcome | Deferred]:
    """Store each transaction, or say why not; each batch is a statement and a commit of its own."""
    if len(transactions) == 1:
        return [await append_one(queries, connection, transactions[0])]
    return [outcome for batch in batches(transactions) for outcome in await _append_group(queries, connection, batch)]


async def append_one(
    queries: Queries, connection: AsyncConnection, transaction: Transaction, *, in_transaction: bool = False
) -> Appended | Conflict:
    """Store a transaction, or say why not; wait as long as it takes for other writers of its streams."""
    try:
        # On its own the statement is its own transaction; within another, a failure must leave that one usable.
        async with connection.transaction() if in_transaction else nullcontext():
            rows = await _insert(queries, connection, transaction)
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name not in DECIDING_INDEXES:
            raise
        rows = []
    if rows:
        return _appended(transaction, _by_stream(rows))
    (conflict,) = await _find_conflicts(queries, connection, [transaction])
    return conflict


async def _insert(queries: Queries, connection: AsyncConnection, transaction: Transaction) -> list[tuple[Any, ...]]:
    if len(transaction) > 1:
        return await fetch(connection, queries["append"], _parameters([transaction], lock_timeout=None))
    if len(transaction[0].events) > 1:
        return await fetch(connection, queries["append_streams"], _stream_parameters([transaction], lock_timeout=None))
    return await fetch(connection, queries["append_event"], _event_parameters(transaction))


async def _append_group(queries: Queries, connection: AsyncConnection, batch: Batch) -> Sequence[Outcome | Deferred]:
    query, parameters = queries["append"], None
    if all(len(transaction) == 1 for transaction in batch):
        query, parameters = queries["append_streams"], _stream_parameters(batch, lock_timeout=LOCK_TIMEOUT)
    for _ in range(_TRIES):
        if parameters is None:
            parameters = _parameters(batch, lock_timeout=LOCK_TIMEOUT)
        try:
            placed = _by_stream(await fetch(connection, query, parameters))
        except psycopg.errors.UniqueViolation as error:
            # Another writer was faster at one of the streams, or an id is stored: seen from now on, it is that
            # transaction's conflict.
            if error.diag.constraint_name not in DECIDING_INDEXES:
                raise
            query, parameters = queries["append"], None
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            break
        except psycopg.errors.CheckViolation as error:
            if not lacks_partition(error):
                raise
            break
        else:
            refused = [transaction for transaction in batch if transaction[0].stream_id not in placed]
            conflicts = iter(await _find_conflicts(queries, connection, refused) if refused else ())
            return [
                _appended(transaction, placed) if transaction[0].stream_id in placed else next(conflicts)
                for transaction in batch
            ]
    return [Deferred()] * len(batch)


async def _find_conflicts(queries: Queries, connection: AsyncConnection, refused: Batch) -> list[Conflict]:
    appends = [append for transaction in refused for append in transaction]
    states, stored = await find_facts(
        queries,
        connection,
        [append.stream_id for append in appends],
        [event.event_id for append in appends for event in append.events],
    )
    return [
        Conflict(
            tuple(states[append.stream_id] for append in transaction),
            tuple(
                stored[event.event_id] for append in transaction for event in append.events if event.event_id in stored
            ),
        )
        for transaction in refused
    ]


async def find_facts(
    queries: Queries, connection: AsyncConnection, stream_ids: Sequence[str], event_ids: Iterable[UUID]
) -> tuple[dict[str, StreamState], dict[UUID, RecordedEvent]]:
    """Read, at one instant, why events were not stored: the state of each stream, and the events that have the ids."""
    rows = await fetch(
        connection, queries["conflict"], {"stream_ids": TextArray(stream_ids), "event_ids": UuidArray(event_ids)}
    )
    named = dict(enumerate(stream_ids, 1))
    states = {named[number]: StreamState(named[number], version, deleted) for number, version, deleted, *_ in rows}
    stored = {event.event_id: event for event in (recorded_event(row[3:]) for row in rows if row[3] is not None)}
    if stored:
        # Sent again, they are about to be acknowledged: not before they are as safe as when they are stored.
        await fetch(connection, queries["confirm"], {})
    return states, stored


def _event_parameters(transaction: Transaction) -> dict[str, object]:
    (append,) = transaction
    (event,) = append.events
    lowest, highest = version_range(append.expected_version)
    return {
        "stream_id": append.stream_id,
        # Of one type whatever their size: the types of its parameters are a part of a prepared statement.
        "lowest": Int8(lowest),
        "highest": Int8(highest),
        "event_id": event.event_id,
        "event_type": event.event_type,
        "data": jsonb_text(event.data).decode(),
        "metadata": jsonb_text(event.metadata).decode(),
    }


def _stream_parameters(batch: Batch, *, lock_timeout: str | None) -> dict[str, object]:
    appends = [append for (append,) in batch]
    ranges = [version_range(append.expected_version) for append in appends]
    events = [event for append in appends for event in append.events]
    offsets = [0]
    numbers: list[int] = []
    for number, append in enumerate(appends, 1):
        offsets.append(offsets[-1] + len(append.events))
        numbers += [number] * len(append.events)
    return {
        "lock_timeout": lock_timeout,
        "stream_ids": TextArray([append.stream_id for append in appends]),
        "lowest": BigintArray([lowest for lowest, _ in ranges]),
        "highest": BigintArray([highest for _, highest in ranges]),
        "offsets": BigintArray(offsets[:-1]),
        "numbers": BigintArray(numbers),
        **columns_of(events),
    }


def _parameters(batch: Batch, *, lock_timeout: str | None) -> dict[str, object]:
    writes = [(number, append) for number, transaction in enumerate(batch) for append in transaction]
    ranges = [version_range(append.expected_version) for _, append in writes]
    events = [
        (number, place, event)
        for number, (_, append) in enumerate(writes, 1)
        for place, event in enumerate(append.events, 1)
    ]
    return {
        "lock_timeout": lock_timeout,
        "transaction_numbers": BigintArray([number for number, _ in writes]),
        "stream_ids": TextArray([append.stream_id for _, append in writes]),
        "lowest": BigintArray([lowest for lowest, _ in ranges]),
        "highest": BigintArray([highest for _, highest in ranges]),
        "numbers": BigintArray([number for number, _, _ in events]),
        "places": BigintArray([place for _, place, _ in events]),
        **columns_of([event for _, _, event in events]),
    }


def columns_of(events: Sequence[EncodedEvent]) -> dict[str, object]:
    """Return the parameters that are the events themselves."""
    return {
        "event_ids": UuidArray([event.event_id for event in events]),
        "event_types": TextArray([event.event_type for event in events]),
        "data": TextArray([jsonb_text(event.data) for event in events]),
        "metadata": TextArray([jsonb_text(event.metadata) for event in events]),
    }


def _by_stream(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    placed: dict[str, list[tuple[Any, ...]]] = {}
    for row in sorted(rows, key=_position):
        placed.setdefault(row[0], []).append(row)
    return placed


def _appended(transaction: Transaction, placed: dict[str, list[tuple[Any, ...]]]) -> Appended:
    streams: list[AppendedStream] = []
    for append in transaction:
        rows = placed[append.stream_id]
        _, first_version, _, created_at, *_ = rows[0]
        streams.append(AppendedStream(first_version, tuple(map(_position, rows)), time_of(created_at)))
    return Appended(tuple(streams))

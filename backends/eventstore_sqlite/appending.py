"""Appends as parameters of append.sql and append_event.sql, and their rows as outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import msgspec

from eventstore.backend import (
    Appended,
    AppendedStream,
    Conflict,
    Outcome,
    StreamAppend,
    StreamState,
    Transaction,
)
from eventstore.batches import Batch
from eventstore.versions import version_range
from eventstore_sqlite import queries
from eventstore_sqlite.records import split_facts, time_of
from eventstore_sqlite.statements import Parameters, Row, Run

_position = itemgetter(2)


async def append_batch(batch: Batch, write: Run, read: Run) -> list[Outcome]:
    """Store the transactions of a batch, or say why not; `read` must see what `write` wrote."""
    placed: dict[str, list[Row]] = {}
    for row in sorted(await write(*_statement(batch)), key=_position):
        placed.setdefault(row[0], []).append(row)
    refused = [_wanted(transaction) for transaction in batch if transaction[0].stream_id not in placed]
    conflicts = iter(await read_conflicts(refused, read) if refused else ())
    return [
        _appended(transaction, placed) if transaction[0].stream_id in placed else next(conflicts)
        for transaction in batch
    ]


def _statement(batch: Batch) -> tuple[str, Parameters]:
    if len(batch) == 1 and len(batch[0]) == 1 and len(batch[0][0].events) == 1:
        return queries.APPEND_EVENT, _event_parameters(batch[0][0])
    return queries.APPEND, _parameters(batch)


def _event_parameters(append: StreamAppend) -> Parameters:
    (event,) = append.events
    lowest, highest = version_range(append.expected_version)
    return {
        "event_id": str(event.event_id),
        "stream_id": append.stream_id,
        "stream_type": append.stream_type,
        "lowest": lowest,
        "highest": highest,
        "event_type": event.event_type,
        "data": event.data.decode(),
        "metadata": event.metadata.decode(),
    }


def _parameters(batch: Batch) -> Parameters:
    writes: list[tuple[object, ...]] = []
    events: list[tuple[object, ...]] = []
    for number, transaction in enumerate(batch):
        for append in transaction:
            for nth, event in enumerate(append.events, 1):
                events.append(
                    (len(writes), nth, event.event_id, event.event_type, event.data.decode(), event.metadata.decode())
                )
            writes.append((number, append.stream_id, append.stream_type, *version_range(append.expected_version)))
    return {"writes": json_text(writes), "events": json_text(events)}


def _appended(transaction: Transaction, placed: dict[str, list[Row]]) -> Appended:
    streams: list[AppendedStream] = []
    for append in transaction:
        rows = placed[append.stream_id]
        _, first_version, _, created_at = rows[0]
        streams.append(AppendedStream(first_version, tuple(map(_position, rows)), time_of(created_at)))
    return Appended(tuple(streams))


class Wanted(NamedTuple):
    """The streams and the event ids of a write that was refused."""

    stream_ids: Sequence[str]
    event_ids: Sequence[UUID]


def _wanted(transaction: Transaction) -> Wanted:
    return Wanted(
        [append.stream_id for append in transaction],
        [event.event_id for append in transaction for event in append.events],
    )


async def read_conflicts(refused: Sequence[Wanted], read: Run) -> list[Conflict]:
    """Say of each write why it was refused, all at one instant."""
    stream_ids = [stream_id for wanted in refused for stream_id in wanted.stream_ids]
    event_ids = [event_id for wanted in refused for event_id in wanted.event_ids]
    rows = await read(queries.CONFLICT, {"stream_ids": json_text(stream_ids), "event_ids": json_text(event_ids)})
    facts, events = split_facts(rows)
    states = {stream_id: StreamState(stream_id, version, bool(deleted)) for stream_id, _, version, *_, deleted in facts}
    stored = {event.event_id: event for event in events}
    return [
        Conflict(
            tuple(states[stream_id] for stream_id in wanted.stream_ids),
            tuple(stored[event_id] for event_id in wanted.event_ids if event_id in stored),
        )
        for wanted in refused
    ]


def json_text(value: object) -> str:
    """Return a list parameter as the text that json_each takes apart."""
    return msgspec.json.encode(value).decode()

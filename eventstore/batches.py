"""Cutting lists of what is to be stored into what one statement can decide on. For backends to use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias
from uuid import UUID

from eventstore.backend import RestoredEvent, Transaction

Batch: TypeAlias = list[Transaction]
"""Transactions that share neither a stream nor an event id."""


def batches(transactions: Sequence[Transaction]) -> Iterator[Batch]:
    """Cut a list of transactions into batches, in order."""
    batch: Batch = []
    taken: set[str | UUID] = set()
    for transaction in transactions:
        names: set[str | UUID] = {append.stream_id for append in transaction}
        names.update(event.event_id for append in transaction for event in append.events)
        if not taken.isdisjoint(names):
            yield batch
            batch, taken = [], set()
        batch.append(transaction)
        taken |= names
    if batch:
        yield batch


def first_events(events: Iterable[RestoredEvent]) -> dict[str, RestoredEvent]:
    """Return the first event of each stream, by the stream's id, in the order in which the streams begin."""
    firsts: dict[str, RestoredEvent] = {}
    for event in events:
        firsts.setdefault(event.stream_id, event)
    return firsts

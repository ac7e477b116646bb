"""Cutting a list of transactions into batches that one statement can store. For backends to use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias
from uuid import UUID

from eventstore.backend import Transaction

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

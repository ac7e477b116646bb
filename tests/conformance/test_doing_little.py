"""Backends that do as little as they may: they pass, too."""

import asyncio
from functools import partial
from typing import Any

import pytest

from eventstore import EventStore
from eventstore.backend import Backend
from eventstore.operations import Limits
from eventstore_conformance.chapter import MakeStore
from eventstore_conformance.consumer_errors import ConsumerErrors
from eventstore_conformance.consumer_workers import ConsumerWorkers
from eventstore_conformance.consumers import Consumers
from eventstore_conformance.opening import Opening
from eventstore_conformance.ordering import Ordering
from eventstore_conformance.restore_races import RestoreRaces
from eventstore_conformance.restored_streams import RestoredStreams
from eventstore_conformance.restoring import Restore
from eventstore_conformance.snapshots import Snapshots
from eventstore_conformance.sql_transactions import SqlTransactions
from eventstore_conformance.stateful import Stateful
from eventstore_conformance.stream_subscriptions import StreamSubscriptions
from eventstore_conformance.subscriptions import Subscriptions
from eventstore_conformance.transactions import Transactions
from eventstore_memory import MemoryBackend


class Modest(MemoryBackend):
    """Claims nothing; no URL leads to it."""

    capabilities = frozenset()


class Polling(MemoryBackend):
    """Tells nobody of anything: who waits sleeps for a moment, and looks again."""

    async def wait(self, after: int, timeout: float) -> None:
        await asyncio.sleep(min(timeout, 0.01))


class TestModest(
    Transactions, SqlTransactions, Ordering, Snapshots, Restore, RestoreRaces, RestoredStreams, Opening, Stateful
):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return partial(store_over, Modest)


class TestPolling(Subscriptions, StreamSubscriptions, Consumers, ConsumerWorkers, ConsumerErrors, RestoreRaces):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return partial(store_over, Polling)


def store_over(backend: type[Backend], **options: Any) -> EventStore:
    retry_timeout = options.pop("retry_timeout", 0)
    return EventStore(backend(), limits=Limits(**options), retry_timeout=retry_timeout)

"""A backend that claims no capability: the suite checks that it says so, and what it does instead."""

from typing import Any

import pytest

from eventstore import EventStore
from eventstore.operations import Limits
from eventstore_conformance.chapter import MakeStore
from eventstore_conformance.opening import Opening
from eventstore_conformance.ordering import Ordering
from eventstore_conformance.snapshots import Snapshots
from eventstore_conformance.sql_transactions import SqlTransactions
from eventstore_conformance.stateful import Stateful
from eventstore_conformance.transactions import Transactions
from eventstore_memory import MemoryBackend


class Modest(MemoryBackend):
    """A memory backend that claims nothing, and that no URL leads to."""

    capabilities = frozenset()


class TestModest(Transactions, SqlTransactions, Ordering, Snapshots, Opening, Stateful):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return make_modest_store


def make_modest_store(**options: Any) -> EventStore:
    retry_timeout = options.pop("retry_timeout", 0)
    return EventStore(Modest(), limits=Limits(**options), retry_timeout=retry_timeout)

"""Postgres with its log in partitions so small that most tests go from one into the next.

The chapters where the layout matters: those in which events are written, found and removed. What stands beside the log
(snapshots, checkpoints, consumers) is the same in both layouts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest
import pytest_asyncio

from eventstore_conformance.append import Append
from eventstore_conformance.append_many import AppendMany
from eventstore_conformance.concurrency import Concurrency
from eventstore_conformance.group_commit import GroupCommit
from eventstore_conformance.in_flight import InFlight
from eventstore_conformance.lifecycle import Delete, Truncate
from eventstore_conformance.ordering import Ordering
from eventstore_conformance.reading import ReadAll, ReadStream
from eventstore_conformance.restore_races import RestoreRaces
from eventstore_conformance.restored_streams import RestoredStreams
from eventstore_conformance.restoring import Restore
from eventstore_conformance.sql_transactions import SqlTransactions
from eventstore_conformance.verify import Verify
from tests.conformance.test_postgres import PostgresHooks

# A transaction may fill 128 partitions; these append thousands of events in one.
LARGER_PARTITIONS: Final[Mapping[str, int]] = {
    "test_a_batch_of_any_size_is_contiguous_and_in_order": 1_000,
    "test_a_large_batch_sent_again_is_recognised": 1_000,
    "test_many_events_of_many_streams_are_restored_in_one_call": 1_000,
    "test_more_than_a_page_of_everything_is_read": 1_000,
}


class TestPartitionedPostgres(  # type: ignore[misc]
    PostgresHooks,
    Append,
    AppendMany,
    ReadStream,
    ReadAll,
    Ordering,
    InFlight,
    Concurrency,
    GroupCommit,
    SqlTransactions,
    Truncate,
    Delete,
    Verify,
    Restore,
    RestoreRaces,
    RestoredStreams,
):
    @pytest_asyncio.fixture
    async def store_url(self, postgres_url: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
        size = LARGER_PARTITIONS.get(request.function.__name__, 10)
        yield f"{postgres_url}&partition_size={size}"

"""The suite: all chapters in one class."""

from eventstore_conformance.append import Append
from eventstore_conformance.append_many import AppendMany
from eventstore_conformance.checkpoints import Checkpoints
from eventstore_conformance.concurrency import Concurrency
from eventstore_conformance.consumer_errors import ConsumerErrors
from eventstore_conformance.consumer_workers import ConsumerWorkers
from eventstore_conformance.consumers import Consumers
from eventstore_conformance.data import Data
from eventstore_conformance.faults import Faults
from eventstore_conformance.filters import Filters
from eventstore_conformance.group_commit import GroupCommit
from eventstore_conformance.in_flight import InFlight
from eventstore_conformance.lifecycle import Delete, Truncate
from eventstore_conformance.listing import Listing
from eventstore_conformance.names import Names
from eventstore_conformance.opening import Opening
from eventstore_conformance.ordering import Ordering
from eventstore_conformance.reading import ReadAll, ReadStream
from eventstore_conformance.restore_races import RestoreRaces
from eventstore_conformance.restored_streams import RestoredStreams
from eventstore_conformance.restoring import Restore
from eventstore_conformance.snapshots import Snapshots
from eventstore_conformance.sql_transactions import SqlTransactions
from eventstore_conformance.stateful import Stateful
from eventstore_conformance.stream_subscriptions import StreamSubscriptions
from eventstore_conformance.subscriptions import Subscriptions
from eventstore_conformance.transactions import Transactions
from eventstore_conformance.verify import Verify

CHAPTERS = (
    Append,
    AppendMany,
    Data,
    Names,
    ReadStream,
    ReadAll,
    Filters,
    Listing,
    Ordering,
    InFlight,
    Concurrency,
    GroupCommit,
    Transactions,
    SqlTransactions,
    Snapshots,
    Checkpoints,
    Subscriptions,
    StreamSubscriptions,
    Consumers,
    ConsumerWorkers,
    ConsumerErrors,
    Truncate,
    Delete,
    Verify,
    Restore,
    RestoreRaces,
    RestoredStreams,
    Opening,
    Faults,
    Stateful,
)
"""The chapters, in the order in which they are read."""


# Backwards, since pytest runs what is inherited from the last base first.
class StoreConformance(*reversed(CHAPTERS)):  # type: ignore[misc]
    """The behaviour of an event store.

    Subclass it with one fixture, `store_url`: the URL of a store that is fresh and empty for every test.

        class TestRedis(StoreConformance):
            @pytest_asyncio.fixture
            async def store_url(self):
                yield "redis://…"
    """

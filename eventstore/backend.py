"""The contract between the store and an engine: all that the author of a backend must read.

A backend stores. It receives arguments that the core has checked (names, versions, limits, JSON text) and neither
validates, pages, retries nor polls. It is one class with the methods of `Backend`, an entry point in the group
`eventstore.backends` under its URL scheme, and a subclass of the conformance suite that proves it
(`docs/write-a-backend.md` goes there step by step):

    [project.entry-points."eventstore.backends"]
    redis = "eventstore_redis:open_backend"

where `open_backend(url: str, **options: object) -> Backend` reads the URL (see `eventstore.urls`) and does no I/O.

What goes wrong in the database is raised as one of the errors of `eventstore.errors`, chained to the driver's own:
`StoreUnavailable` for what may work later (with `outcome_unknown=True` when the call may have taken effect),
`StoreReadOnly` where writes are refused, `StorageError` for the rest. What the caller's own code raises inside
`transaction()` passes as it is. Every call is safe to cancel: it then happened wholly or not at all; where threads do
the work, `eventstore.cancellation.uninterrupted` waits for their end.

What helps: `eventstore.events.decode_json(text)` and `stream_type_of(stream_id)` to make a `RecordedEvent`,
`eventstore.versions.is_met(expected, version)`, `Filter.matches(event)` where the engine cannot filter,
`eventstore.filters.wanted_ids(stream_type, prefix)` for the ids that `list_streams` is to seek, as `(alone, prefix)`,
and of `eventstore.urls` `split_query(url, options)` for `(base, given)`, `parse_options(given, {"name": parser})` for
the values and `path_of(base)` for a `Path`. An engine that keeps its events in memory decodes them for each read: what
a caller gets is the caller's, to change as well. A limit is at least 1. A stream id has up to 255 characters, which are
up to 1,020 bytes of UTF-8. A stream type with a dash is asked for now and then, and matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, TypeAlias
from uuid import UUID

import msgspec

from eventstore.events import JsonObject, RecordedEvent
from eventstore.filters import Filter
from eventstore.versions import ExpectedVersion


class Capability(Enum):
    """What a backend may promise beyond the required core."""

    DURABLE = "durable"
    """What was written is there after the store is closed and opened again by the same URL."""

    SHARED = "shared"
    """Several stores, in one process or many, can use the same URL at the same time."""

    TRANSACTIONS = "transactions"
    """`Backend.transaction()`: appends, snapshots, checkpoints and lifecycle calls commit together or not at all."""

    CONSUMERS = "consumers"
    """`Backend.list_entries` and `Backend.save_entry`: what consumers keep of their progress."""

    GROUP_COMMIT = "group commit"
    """`Backend.append` of many transactions costs little more than of one: concurrent appends are gathered for it."""

    CONCURRENT_CALLS = "concurrent calls"
    """Two calls at a time are faster than one after the other, as with a server: while one group commits, the next is
    sent; while a page is used, the next is read."""

    SQL_TRANSACTIONS = "SQL transactions"
    """The caller's own SQL joins in: a transaction has a `connection`, and `Backend.bind()` joins the caller's."""

    RESTORE = "restore"
    """`Backend.restore` and `Backend.restore_stream`: what another store recorded keeps its versions and times."""


class Direction(Enum):
    """Which way a page is read."""

    FORWARD = "forward"
    BACKWARD = "backward"


# --- What the core hands to a backend --------------------------------------------------------------------------------


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """A checked event; `data` and `metadata` are JSON text in UTF-8, each an object."""

    event_id: UUID
    event_type: str
    data: bytes
    metadata: bytes


class StreamAppend(msgspec.Struct, frozen=True, gc=False):
    """Events for one stream. `eventstore.versions` evaluates the expectation, as a predicate or as a range."""

    stream_id: str
    stream_type: str
    expected_version: ExpectedVersion
    events: tuple[EncodedEvent, ...]


class RestoredEvent(msgspec.Struct, frozen=True, gc=False):
    """A checked event that another store recorded, with the version and the time (in UTC) that it has there."""

    stream_id: str
    stream_type: str
    version: int
    event: EncodedEvent
    created_at: datetime


Transaction: TypeAlias = Sequence[StreamAppend]
"""One or more appends to different streams, all or nothing. No event id occurs twice in it."""


# --- What a backend answers ------------------------------------------------------------------------------------------


class AppendedStream(msgspec.Struct, frozen=True, gc=False):
    """Where the events of one `StreamAppend` went: versions from `first_version` on, a position for each."""

    first_version: int
    positions: tuple[int, ...]
    created_at: datetime


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The transaction is stored, durably. `streams` follow the order of its appends."""

    streams: tuple[AppendedStream, ...]


class StreamState(msgspec.Struct, frozen=True, gc=False):
    """The version of a stream (0: it never had events), and whether it carries a tombstone."""

    stream_id: str
    version: int
    deleted: bool


class Conflict(msgspec.Struct, frozen=True):
    """Nothing of the transaction was stored; these facts, read at one instant after the attempt, tell why.

    `streams` are the states of the transaction's streams, in its order; `stored` the events in the store, in whatever
    stream, that have one of its event ids. The core decides what it means: the same batch sent again, a wrong
    expectation, a reused id, or a race that is over (then it calls again).
    """

    streams: tuple[StreamState, ...]
    stored: tuple[RecordedEvent, ...]


Outcome: TypeAlias = Appended | Conflict


class Deferred(msgspec.Struct, frozen=True):
    """Nothing of the transaction was stored, for reasons that lie in the company: the core calls again with it alone.

    So a transaction that would have to wait for somebody else's does not make its neighbours wait. One that is alone in
    its call is never deferred.
    """


class LogPage(msgspec.Struct, frozen=True):
    """One page of the log.

    `looked_to` is the last position that the page has looked at, matching or not: the next page continues there, and a
    forward reader may keep it as a bookmark. `at_end` says that there was nothing more to look at for now.
    """

    events: list[RecordedEvent]
    looked_to: int
    at_end: bool


class StreamInfo(msgspec.Struct, frozen=True):
    """What a store knows of a stream.

    `version` is the number of its last event, kept even when the events are gone; `first_version` that of the first one
    not truncated or erased (`version + 1` where none is left); `deleted` whether it carries a tombstone.
    """

    stream_id: str
    stream_type: str
    version: int
    first_version: int
    deleted: bool


class Snapshot(msgspec.Struct, frozen=True):
    """The state of an aggregate after the event numbered `version`, kept to load it faster."""

    stream_id: str
    version: int
    data: JsonObject
    created_at: datetime


class EncodedSnapshot(msgspec.Struct, frozen=True):
    """A checked snapshot; `data` is JSON text in UTF-8."""

    stream_id: str
    version: int
    data: bytes


class Checkpoint(msgspec.Struct, frozen=True):
    """A position saved under a name."""

    name: str
    position: int


class Place(msgspec.Struct, frozen=True):
    """Where an event stands, in its stream and in the log, and since when."""

    stream_id: str
    version: int
    global_position: int
    created_at: datetime


class Entry(msgspec.Struct, frozen=True):
    """What a consumer keeps: its progress, who is at work, an event it could not handle.

    `name` is the consumer's, `key` tells its entries apart: up to 100 characters of ASCII. `version` counts from 1 and
    grows with each change; `data` is JSON text in UTF-8, an object.
    """

    name: str
    key: str
    version: int
    data: bytes


# --- The protocol ----------------------------------------------------------------------------------------------------


class Session(Protocol):
    """The primitives that work alike on a store and inside a transaction."""

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome | Deferred]:
        """Store each transaction, or say why not, in order; return an outcome for each.

        A transaction is stored wholly or not at all. It is stored when every stream meets its expectation and is not
        deleted and none of the event ids is in the store; otherwise its outcome is a `Conflict`. The transactions fail
        on their own: one's conflict leaves the others alone. When the call returns, all that was stored is durable.
        When it raises, some of them may be stored, wholly: the core asks again, by their event ids.

        Events get the next versions of their stream without a gap, growing positions that were never used before (nor
        told to a transaction that rolled back), and the store's clock, which never goes back within a stream.
        """
        ...

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        """Return up to `limit` events of a stream by version, or None if the stream is deleted.

        Forward: versions from `start` (None: the first) upwards. Backward: from `start` (None: the last) downwards.
        Inclusive; fewer than `limit` events mean that there are no more.
        """
        ...

    async def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream, deleted or not, or None if it never had an event nor a tombstone."""
        ...

    async def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        """Return up to `limit` streams by id, in the byte order of their UTF-8, from the first after `after` on.

        All conditions that are not None hold. The cost depends on the streams returned, not on the size of the log.
        """
        ...

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        """Remove the stream's events below `before_version` for good; return how many, or None if it is deleted.

        The stream's version stays, also when no event is left, and so does everything in other streams.
        """
        ...

    async def delete_stream(
        self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        """Put a tombstone on a stream that meets the expectation, and remove its snapshot; return None when done.

        With `erase` its events go too, also on a stream that was deleted before without. Where the expectation fails,
        or the stream is deleted already and there is nothing to erase, nothing changes and the stream's state is
        returned.
        """
        ...

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the stream's latest snapshot."""
        ...

    async def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        """Keep the snapshot unless one of a later version is there already; return None.

        Where the stream is deleted, or its version is below the snapshot's, nothing changes and its state is returned.
        """
        ...

    async def delete_snapshots(self, stream_id: str) -> None:
        """Forget the stream's snapshots."""
        ...

    async def load_checkpoint(self, name: str) -> int:
        """Return the position saved under the name, 0 if there is none."""
        ...

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        """Move the checkpoint from `expected` (0: none yet) to `position`, atomically, if that is where it is.

        Return where the checkpoint was found: `expected` means that it was moved.
        """
        ...

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Return up to `limit` entries of one consumer, or of all (None), whose keys begin with `prefix`.

        Within a name by key; the names in whatever order, always the same. From the first after `after`, a name and a
        key. Needs `CONSUMERS`.
        """
        ...

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Keep the data, or remove the entry (None), atomically, if its version is `expected` (0: there is none).

        The version grows by one. Return the version that was found: `expected` means that it was done. Needs
        `CONSUMERS`.
        """
        ...


class SessionInTransaction(Session, Protocol):
    """A session whose effects show to others only once its transaction commits."""

    @property
    def connection(self) -> Any:
        """The driver's own connection (aiosqlite, psycopg, …) that runs the transaction.

        Raises `CapabilityNotSupported` where there is none. The one `Any` here: the type is the driver's.
        """
        ...


class Backend(Session, Protocol):
    """One store in one engine. Not opened by its constructor; used by one event loop.

    Have its methods; do not inherit from it: a method that is missing would answer None, and not be missed.
    """

    @property
    def name(self) -> str:
        """The engine's name for people, e.g. `Postgres`."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the backend promises beyond the required core."""
        ...

    async def open(self) -> None:
        """Acquire what is needed, create or upgrade the schema, and check that it is sound.

        Raises `SchemaTooNew(found, known)` for a schema of a later version of the backend. One that has something to
        migrate takes the option `migrate`; `migrate=false` leaves the schema alone and raises
        `SchemaOutdated(found, needed)` where it is missing or older.
        """
        ...

    async def close(self) -> None:
        """Release everything; idempotent; completes also when cancelled. The process can exit afterwards."""
        ...

    async def migrate(self) -> None:
        """Create or upgrade the schema; safe when many processes do it at once; works before `open`."""
        ...

    async def schema_version(self) -> int:
        """Return the schema's version, 0 where there is none; works before `open`."""
        ...

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return up to `limit` events of the log that match the filter, by global position.

        Forward: positions above `start` (None: from the beginning). Backward: below `start` (None: from the head). A
        page may have fewer events than `limit`, even none, and not be the last; `at_end` tells.

        Never passes a position below which an event may yet appear, whatever the concurrency: a position returned, as
        an event's or as `looked_to`, is a bookmark for good. An engine that draws positions before it commits must
        withhold what lies above one that is still open.
        """
        ...

    async def head(self) -> int:
        """Return the last position that a reader may bookmark, 0 before the first append; it never decreases."""
        ...

    async def wait(self, after: int, timeout: float) -> None:
        """Return when the log may have something above `after` to be read, at the latest after `timeout` seconds.

        At once where it has, and soon after `close`. Whatever commits, on this store or elsewhere, wakes those who
        wait: by a push where the engine has one, and by a poll beneath it. It may return for nothing, so that it is
        enough to sleep for a moment; `eventstore.watching.Watch` does it with one look for everybody who waits.
        """
        ...

    async def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        """Return up to `limit` places of the events of all streams, by stream id as `list_streams`, and by version.

        From the first after `after`, a stream id and a version. Whatever is stored of deleted streams is there too, and
        what is not settled yet. They are looked up as `read_stream` does, by the same index, since `verify` compares
        them with the log.
        """
        ...

    async def list_snapshots(self, after: str | None, limit: int) -> list[EncodedSnapshot]:
        """Return up to `limit` snapshots by stream id as `list_streams`, from the first after `after` on."""
        ...

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        """Return up to `limit` checkpoints, in whatever order, always the same, from the first after `after` on."""
        ...

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events as another store recorded them, all or none; return their positions, which grow as listed.

        The streams of the events may alternate. They are stored when of each stream the first version is the next one,
        the first time not before that of its last event, it is not deleted, and none of the event ids is in the store;
        otherwise the outcome is a `Conflict`, its streams in the order of their first events. Within the list the core
        has seen to it that versions have no gap, times do not go back in a stream, and no id occurs twice.

        Times stay as they are, to the microsecond; an append that follows gets none before them. All else is as with
        `append`: durable when it returns, raised errors leave all or nothing, and those who wait are woken. Needs
        `RESTORE`.
        """
        ...

    async def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        """Let a stream without events be at `version`, at least 1, as if all up to there were truncated.

        Returns None when it is. A stream without events never had any, or all were truncated, and its own version is at
        most `version`; where it is that very version, nothing needs to be done, and None is returned as well. An append
        that follows gets no time before that of the last event that the stream had. A snapshot stays.

        Where it has an event, a higher version or a tombstone, nothing changes and its state is returned. Needs
        `RESTORE`.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[SessionInTransaction]:
        """Run a transaction: commit on a clean exit, roll back on an exception. Needs `TRANSACTIONS`."""
        ...

    def bind(self, connection: Any) -> SessionInTransaction:
        """Join the transaction that the caller runs on `connection`. Needs `SQL_TRANSACTIONS`.

        Raises `InvalidArgument` if it is no connection of this engine's driver.
        """
        ...


BackendFactory: TypeAlias = Callable[..., Backend]
"""What an entry point names: called with the URL, and the options of `open_store` as keywords."""

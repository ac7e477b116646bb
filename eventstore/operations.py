"""What can be done with a store and inside a transaction alike: all rules that do not depend on the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, ParamSpec, TypeVar

import msgspec

from eventstore.arguments import check_integer, check_name, check_optional_integer
from eventstore.backend import (
    Appended,
    Conflict,
    Deferred,
    Direction,
    EncodedSnapshot,
    Outcome,
    Session,
    Snapshot,
    StreamInfo,
    Transaction,
)
from eventstore.errors import (
    CheckpointConflict,
    InvalidArgument,
    StreamDeleted,
    VersionMismatch,
    WrongExpectedVersion,
)
from eventstore.events import (
    DEFAULT_MAX_EVENT_SIZE,
    JsonObject,
    NewEvent,
    RecordedEvent,
    encode_json_object,
)
from eventstore.outcomes import recorded_events, resolve_conflict
from eventstore.versions import ExpectedVersion, check_expected_version, is_met
from eventstore.writes import StreamWrite, encode_writes

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_PAGE_SIZE: Final = 500
"""How many events one request to the database reads, unless the store is opened with another number."""


class Limits(msgspec.Struct, frozen=True):
    """`max_event_size`: bytes of JSON text of an event's data, and of its metadata; `page_size`: events per request."""

    max_event_size: int = DEFAULT_MAX_EVENT_SIZE
    page_size: int = DEFAULT_PAGE_SIZE

    def __post_init__(self) -> None:
        check_integer("max_event_size", self.max_event_size, 2)
        check_integer("page_size", self.page_size, 1)


class Operations(ABC):
    """The calls that `EventStore` and `StoreTransaction` share."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    @abstractmethod
    def _reader(self) -> Session:
        """Return the session to read with, or raise why there is none."""

    @abstractmethod
    def _writer(self) -> Session:
        """Return the session to write with, or raise why there is none."""

    async def _repeatable(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a primitive that may run again if the database was lost meanwhile."""
        return await call(*args, **kwargs)

    async def _once(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a primitive that may run again only if it certainly did nothing."""
        return await call(*args, **kwargs)

    # --- Appending -----------------------------------------------------------------------------------------------

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        """Append events to a stream, all or none, and return them as recorded.

        `expected_version` is the version of the stream that the decision was based on: an exact one (0: no stream), or
        `NO_STREAM`, `STREAM_EXISTS`, `ANY`. When the call returns, the events are durable. Appending the same batch
        again, after an error or a cancellation with unknown outcome say, returns the events as first recorded.

        Raises `WrongExpectedVersion`, `StreamDeleted`, `DuplicateEventId` (an id is stored, and it is not the same
        batch sent again), `InvalidEvent` or `InvalidArgument`; nothing is written then. Raises `StoreUnavailable` if
        the database stays out of reach; its `outcome_unknown` tells whether the events may be stored.
        """
        return (await self._append([StreamWrite(stream_id, events, expected_version)]))[0]

    async def append_many(self, writes: Sequence[StreamWrite]) -> list[list[RecordedEvent]]:
        """Append to several streams in one atomic transaction, and return the events of each as recorded.

        Raises as `append` does; `WrongExpectedVersion.mismatches` has every expectation that failed. A stream may occur
        once: put its events into one `StreamWrite`.
        """
        return await self._append(writes)

    async def _append(self, writes: Sequence[StreamWrite]) -> list[list[RecordedEvent]]:
        transaction, payloads = encode_writes(writes, self._limits.max_event_size)
        while True:
            outcome = await self._write(transaction)
            if isinstance(outcome, Appended):
                return recorded_events(transaction, payloads, outcome)
            recorded = resolve_conflict(transaction, outcome) if isinstance(outcome, Conflict) else None
            if recorded is not None:
                return recorded

    async def _write(self, transaction: Transaction) -> Outcome | Deferred:
        (outcome,) = await self._writer().append([transaction])
        return outcome

    # --- Reading a stream ----------------------------------------------------------------------------------------

    def read_stream(
        self,
        stream_id: str,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        limit: int | None = None,
        backward: bool = False,
    ) -> AsyncIterator[RecordedEvent]:
        """Read a stream's events by version, both bounds inclusive; forward from the first, or backward from the last.

        Reads a page at a time; events that are appended meanwhile may be seen. A stream that does not exist yields
        nothing. Raises `StreamDeleted` while iterating, and `InvalidArgument` at once.
        """
        check_name("stream_id", stream_id)
        check_integer("from_version", from_version, 1)
        check_optional_integer("to_version", to_version, 0)
        check_optional_integer("limit", limit, 0)
        if backward:
            return self._read_backward(stream_id, from_version, to_version, limit)
        return self._read_forward(stream_id, from_version, to_version, limit)

    async def _read_forward(
        self, stream_id: str, start: int, last: int | None, limit: int | None
    ) -> AsyncIterator[RecordedEvent]:
        remaining = limit
        while (last is None or start <= last) and remaining != 0:
            wanted = self._page(remaining, None if last is None else last - start + 1)
            page = await self._stream_page(stream_id, start, wanted, Direction.FORWARD)
            for event in page:
                if last is not None and event.version > last:
                    return
                yield event
            if len(page) < wanted:
                return
            start = page[-1].version + 1
            remaining = None if remaining is None else remaining - len(page)

    async def _read_backward(
        self, stream_id: str, first: int, start: int | None, limit: int | None
    ) -> AsyncIterator[RecordedEvent]:
        remaining = limit
        while (start is None or start >= first) and remaining != 0:
            wanted = self._page(remaining, None if start is None else start - first + 1)
            page = await self._stream_page(stream_id, start, wanted, Direction.BACKWARD)
            for event in page:
                if event.version < first:
                    return
                yield event
            if len(page) < wanted:
                return
            start = page[-1].version - 1
            remaining = None if remaining is None else remaining - len(page)

    def _page(self, *bounds: int | None) -> int:
        return min(bound for bound in (self._limits.page_size, *bounds) if bound is not None)

    async def _stream_page(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent]:
        page = await self._repeatable(self._reader().read_stream, stream_id, start, limit, direction)
        if page is None:
            raise StreamDeleted(stream_id)
        return page

    # --- Streams -------------------------------------------------------------------------------------------------

    async def stream_version(self, stream_id: str) -> int:
        """Return the number of the stream's last event, 0 where there is none; kept when the stream is deleted."""
        info = await self.stream_info(stream_id)
        return 0 if info is None else info.version

    async def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what the store knows of a stream, deleted or not; None if it never had an event nor a tombstone."""
        check_name("stream_id", stream_id)
        return await self._repeatable(self._reader().stream_info, stream_id)

    def list_streams(
        self,
        *,
        stream_type: str | None = None,
        prefix: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        include_deleted: bool = False,
    ) -> AsyncIterator[StreamInfo]:
        """List streams by id, in the byte order of UTF-8, from the first after `after` on.

        `stream_type` and `prefix` (plain text) narrow the list; deleted streams are left out unless asked for. The cost
        does not grow with the number of events.
        """
        for argument, name in (("stream_type", stream_type), ("prefix", prefix), ("after", after)):
            if name is not None:
                check_name(argument, name)
        check_optional_integer("limit", limit, 0)
        return self._list_streams(stream_type, prefix, after, limit, include_deleted=include_deleted)

    async def _list_streams(
        self,
        stream_type: str | None,
        prefix: str | None,
        after: str | None,
        limit: int | None,
        *,
        include_deleted: bool,
    ) -> AsyncIterator[StreamInfo]:
        remaining = limit
        while remaining != 0:
            wanted = self._page(remaining)
            page = await self._repeatable(
                self._reader().list_streams, stream_type, prefix, after, wanted, include_deleted=include_deleted
            )
            for info in page:
                yield info
            if len(page) < wanted:
                return
            after = page[-1].stream_id
            remaining = None if remaining is None else remaining - len(page)

    async def truncate_stream(self, stream_id: str, before_version: int) -> int:
        """Remove a stream's events below `before_version` for good, and return how many were removed.

        Version numbering goes on, and other events keep their positions; the log has holes where the events were. A
        version beyond the end removes all there is. Raises `StreamDeleted`.
        """
        check_name("stream_id", stream_id)
        check_integer("before_version", before_version, 1)
        removed = await self._once(self._writer().truncate_stream, stream_id, before_version)
        if removed is None:
            raise StreamDeleted(stream_id)
        return removed

    async def delete_stream(self, stream_id: str, *, expected_version: ExpectedVersion, erase: bool = False) -> None:
        """Delete a stream: reading it and appending to it raise `StreamDeleted` from then on; its id stays taken.

        Its version is kept and its snapshot removed. Its events stay in the log, unless `erase` is true: then they are
        removed for good. A stream deleted without can be erased later.

        Raises `WrongExpectedVersion`, or `StreamDeleted` if it was deleted (and, with `erase`, erased) before.
        """
        check_name("stream_id", stream_id)
        check_expected_version(expected_version)
        state = await self._once(self._writer().delete_stream, stream_id, expected_version, erase=erase)
        if state is None:
            return
        # To erase what was deleted before is possible, so that there the expectation is what was wrong.
        if state.deleted and (is_met(expected_version, state.version) or not erase):
            raise StreamDeleted(stream_id)
        raise WrongExpectedVersion([VersionMismatch(stream_id, expected_version, state.version)])

    # --- Snapshots and checkpoints -------------------------------------------------------------------------------

    async def save_snapshot(self, stream_id: str, version: int, data: JsonObject) -> None:
        """Keep the state of an aggregate after its event numbered `version`, in place of an older snapshot.

        A snapshot never replaces a newer one. `data` is a JSON object under the same rules and limits as an event's.
        Raises `StreamDeleted`, or `WrongExpectedVersion` if the stream has not reached that version.
        """
        check_name("stream_id", stream_id)
        check_integer("version", version, 1)
        text, _ = encode_json_object(data, self._limits.max_event_size)
        state = await self._repeatable(self._writer().save_snapshot, EncodedSnapshot(stream_id, version, text))
        if state is None:
            return
        if state.deleted:
            raise StreamDeleted(stream_id)
        raise WrongExpectedVersion([VersionMismatch(stream_id, version, state.version)])

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the stream's latest snapshot; read on with `read_stream(from_version=snapshot.version + 1)`."""
        check_name("stream_id", stream_id)
        return await self._repeatable(self._reader().load_snapshot, stream_id)

    async def delete_snapshots(self, stream_id: str) -> None:
        """Forget the stream's snapshots, when the shape of its state has changed say."""
        check_name("stream_id", stream_id)
        await self._repeatable(self._writer().delete_snapshots, stream_id)

    async def load_checkpoint(self, name: str) -> int:
        """Return the position that was saved under the name, 0 if there is none: where to read on `after`."""
        check_name("name", name)
        return await self._repeatable(self._reader().load_checkpoint, name)

    async def save_checkpoint(self, name: str, position: int, *, expected: int, rewind: bool = False) -> None:
        """Move a checkpoint from `expected` (as loaded; 0 for a new one) to `position`.

        Raises `CheckpointConflict` if it is elsewhere: of two workers on one name, the slower one fails. A position
        below `expected` is refused with `InvalidArgument` unless `rewind` is true.
        """
        check_name("name", name)
        check_integer("position", position, 0)
        check_integer("expected", expected, 0)
        if position < expected and not rewind:
            raise InvalidArgument(
                "position", position, f"it is below {expected}; pass rewind=True to go back on purpose"
            )
        found = await self._once(self._writer().save_checkpoint, name, position, expected)
        if found != expected:
            raise CheckpointConflict(name, expected, found)

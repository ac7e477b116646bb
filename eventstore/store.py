"""`EventStore`: the whole public API over a backend."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, ParamSpec, Self, TypeVar

from eventstore.arguments import check_integer, check_name, check_optional_integer
from eventstore.backend import (
    Backend,
    Capability,
    Deferred,
    Direction,
    LogPage,
    Outcome,
    Session,
    SessionInTransaction,
    Transaction,
)
from eventstore.consumers import Consumer, ConsumerStatus, Switch, all_consumers
from eventstore.errors import (
    CapabilityNotSupported,
    InvalidArgument,
    OpenedElsewhere,
    StoreNotOpen,
    StoreUnavailable,
    TransactionError,
)
from eventstore.events import RecordedEvent
from eventstore.filters import Filter, check_filter
from eventstore.group_commit import GroupCommit
from eventstore.handlers import Handler, Handling
from eventstore.operations import Limits, Operations
from eventstore.ownership import Owner
from eventstore.policies import ConsumerOptions, OnError, Retry
from eventstore.progress import ProgressCallback
from eventstore.reading_ahead import ReadingAhead
from eventstore.retries import call_again
from eventstore.subscriptions import END, LONGEST_WAIT, LogEnd, Page, Source, Subscription
from eventstore.verifying.records import DEFAULT_MOST_PROBLEMS, Verification

if TYPE_CHECKING:
    from eventstore.moving.summary import Imported

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = logging.getLogger("eventstore")

DEFAULT_RETRY_TIMEOUT: Final = 5.0
"""How many seconds a call goes on trying while the database is out of reach, unless the store is opened otherwise."""

_transactions: ContextVar[tuple[StoreTransaction, ...]] = ContextVar("transactions", default=())


class EventStore(Operations):
    """An event store: streams of immutable events, and one log of them all.

    Made by `open_store`, or over a backend of one's own, and used inside `async with`. One store serves any number of
    tasks of the event loop that opened it. From another loop or thread, and in a forked child, every call raises
    `OpenedElsewhere`.
    """

    def __init__(
        self, backend: Backend, *, limits: Limits | None = None, retry_timeout: float = DEFAULT_RETRY_TIMEOUT
    ) -> None:
        """Wrap a backend that is not open yet; `retry_timeout` is in seconds, 0 never tries a second time."""
        super().__init__(limits or Limits())
        if isinstance(retry_timeout, bool) or not isinstance(retry_timeout, (int, float)) or not retry_timeout >= 0:
            raise InvalidArgument("retry_timeout", retry_timeout, "give a number of seconds, at least 0")
        self._backend = backend
        gathers = Capability.GROUP_COMMIT in backend.capabilities
        self._reads_ahead = Capability.CONCURRENT_CALLS in backend.capabilities
        calls = 2 if Capability.CONCURRENT_CALLS in backend.capabilities else 1
        self._group_commit = GroupCommit(backend.append, calls) if gathers else None
        self._retry_timeout = retry_timeout
        self._is_open = False
        self._is_closed = False
        self._owner: Owner | None = None

    def __repr__(self) -> str:
        return f"<EventStore on {self._backend.name}>"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the backend promises beyond the required core."""
        return self._backend.capabilities

    # --- Lifecycle -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and create or upgrade the schema; `async with store` does it.

        Raises `StoreUnavailable`, `StoreReadOnly`, `SchemaError` or `StorageError`; nothing is left open then.
        """
        if self._is_closed:
            raise StoreNotOpen(repr(self), closed=True)
        if self._is_open:
            self._check_owner()
            return
        self._owner = Owner()
        try:
            await self._backend.open()
        except BaseException:
            await self.close()
            raise
        self._is_open = True
        _log.debug("opened %r", self)

    async def close(self) -> None:
        """Release everything; idempotent. A closed store stays closed.

        In a forked child it releases nothing: all of it is the parent's. Raises `OpenedElsewhere` in another loop.
        """
        owner = self._owner
        if owner is not None and not owner.is_here():
            if not self._is_closed and not owner.is_another_process():
                raise OpenedElsewhere(repr(self), forked=False)
            self._is_open, self._is_closed = False, True
            return
        self._is_open, self._is_closed = False, True
        try:
            if self._group_commit is not None:
                await self._group_commit.close()
        finally:
            await self._backend.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def migrate(self) -> None:
        """Create or upgrade the schema, for those who open with `migrate=false`; works on a store not yet open."""
        self._check_owner()
        await self._backend.migrate()

    async def schema_version(self) -> int:
        """Return the version of the schema, 0 where there is none; works on a store not yet open."""
        self._check_owner()
        return await self._backend.schema_version()

    # --- The log -------------------------------------------------------------------------------------------------

    def read_all(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        filter: Filter | None = None,
        limit: int | None = None,
        backward: bool = False,
    ) -> AsyncIterator[RecordedEvent]:
        """Read the log by global position, between `after` and `before`, both exclusive; backward from its head.

        Reads a page at a time (from a server, the next one while the second or a later one is used) and ends at the
        head of the log. Any position seen is a safe bookmark: an event that commits later never appears at or below it.
        Raises `InvalidArgument` at once.
        """
        check_integer("after", after, 0)
        check_optional_integer("before", before, 0)
        check_optional_integer("limit", limit, 0)
        check_filter(filter)
        direction = Direction.BACKWARD if backward else Direction.FORWARD
        return self._read_all(after, before, filter, limit, direction)

    async def _read_all(
        self, after: int, before: int | None, filter: Filter | None, limit: int | None, direction: Direction
    ) -> AsyncIterator[RecordedEvent]:
        start = after if direction is Direction.FORWARD else before
        remaining = limit
        ahead = ReadingAhead[LogPage]()
        is_first = True
        try:
            while remaining != 0:
                if ahead.has_begun:
                    page = await ahead.take()
                else:
                    page = await self._log_page(start, self._page(remaining), direction, filter)
                start = page.looked_to
                passed = start <= after if direction is Direction.BACKWARD else before is not None and start >= before
                remaining = None if remaining is None else remaining - len(page.events)
                is_last = page.at_end or passed or remaining == 0
                # Not while the first is used: most who want no more than a few events leave there.
                if self._reads_ahead and not is_last and not is_first:
                    ahead.begin(self._log_page(start, self._page(remaining), direction, filter))
                for event in page.events:
                    if event.global_position <= after or (before is not None and event.global_position >= before):
                        return
                    yield event
                if is_last:
                    return
                is_first = False
        finally:
            await ahead.close()

    async def _log_page(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        return await self._while_open(self._backend.read_all, start, limit, direction, filter)

    async def head(self) -> int:
        """Return the last position that a reader may bookmark; 0 before the first append. It never decreases."""
        return await self._while_open(self._backend.head)

    async def verify(
        self, *, progress: ProgressCallback | None = None, most_problems: int = DEFAULT_MOST_PROBLEMS
    ) -> Verification:
        """Check that the store holds what it should, up to its present head, and tell what is broken where.

        It only reads, beside others who may write; what they do meanwhile is not mistaken for damage. `progress` is
        called now and then with how far it has come. Of the problems found, `most_problems` are listed, and the rest
        counted. What is checked, what it costs and what it cannot find stands in `docs/verifying.md`.

        Raises `StoreUnavailable` if the database stays out of reach.
        """
        check_integer("most_problems", most_problems, 0)
        self._check_open()
        # Imported when first needed: few processes ever verify.
        from eventstore.verifying.verifier import Verifier

        return await Verifier(self._backend, self._while_open, most_problems, progress).run()

    # --- Moving --------------------------------------------------------------------------------------------------

    def export(self, *, progress: ProgressCallback | None = None) -> AsyncIterator[bytes]:
        """Yield all that the store has, up to its present head, as lines for a file that `import_from` takes.

            with open("shop.jsonl", "wb") as file:
                async for line in store.export():
                    file.write(line)

        Each line is a JSON object; `docs/moving.md` describes them. It only reads, beside others who may write. A file
        without the last line, which tells how many there are, is incomplete, and is refused by `import_from`. Iterating
        raises `StorageError` where the store is damaged, and `StoreUnavailable` if the database stays out of reach.
        """
        self._check_open()
        # Imported when first needed, as below: few processes ever move a store.
        from eventstore.moving.exporting import Exporter

        return Exporter(self._backend, self._while_open, progress).lines()

    async def import_from(
        self,
        file: BinaryIO,
        *,
        consumers: bool = True,
        update: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Imported:
        """Store all that a file has that `export` made, of whatever engine, and return how much that was.

        Events keep their ids, streams, versions, times and order; they get new positions, at the end of the log, and
        checkpoints and consumers those that mean the same here. For that no other event may stand among them, or the
        import is refused, unless `consumers` is false: then checkpoints and consumers are left out. What the store has
        is kept as it is. Run again, after an interruption or with a later export of the same store, it passes what is
        there and adds what is not. Nobody should write to the same streams meanwhile, nor run the consumers.

        `update` is for a later export of the store that this one was filled from: what was truncated, erased or deleted
        there since is so here, too, and checkpoints and consumers take the place of those that are here.

        `file` is open for reading in binary mode and can be read twice: at first all of it is checked, and nothing is
        written where it is not sound. Then it is stored, a thousand events at a time, each time all or none.

        Raises `InvalidExport` with the number of the line, `ImportConflict` where what the store has stands against it
        (a note tells how much is stored by then), `CapabilityNotSupported` without `Capability.RESTORE`,
        `InvalidArgument`, and what `append` raises of the database.
        """
        from eventstore.moving.importing import import_file

        return await import_file(self, file, consumers=consumers, update=update, progress=progress)

    # --- Subscriptions -------------------------------------------------------------------------------------------

    def subscribe(self, *, after: int | LogEnd = 0, filter: Filter | None = None) -> Subscription:
        """Follow the log: an async iterator over every event above `after` that the filter lets through, for ever.

            async for event in store.subscribe(after=bookmark, filter=Filter(stream_types=["order"])):
                ...

        It reads in pages what is there, and then gets what is appended, whoever appends it, as soon as it is settled.
        `after=END` begins where the log ends when the first event is asked for. Leaving the loop is enough to end it.
        Iterating raises `StoreUnavailable` when the database stays out of reach, and `StoreNotOpen` once the store is
        closed. Raises `InvalidArgument` at once.
        """
        check_filter(filter)
        if after is not END:
            check_integer("after", after, 0)
        size = self._limits.page_size

        async def begin() -> int:
            return await self.head() if isinstance(after, LogEnd) else after

        async def read(start: int) -> Page:
            page = await self._log_page(start, size, Direction.FORWARD, filter)
            return Page(page.events, page.looked_to, page.at_end, len(page.events) == size)

        return Subscription(Source(begin, read, self._wait, self._check_open))

    def subscribe_stream(self, stream_id: str, *, from_version: int | LogEnd = 1) -> Subscription:
        """Follow a stream, which may not exist yet: an async iterator over its events from a version on, for ever.

        As `subscribe` does; `from_version=END` begins after the last event. Iterating raises `StreamDeleted` when the
        stream is deleted.
        """
        check_name("stream_id", stream_id)
        if from_version is not END:
            check_integer("from_version", from_version, 1)
        size = self._limits.page_size

        async def begin() -> int:
            return await self.stream_version(stream_id) + 1 if isinstance(from_version, LogEnd) else from_version

        async def read(start: int) -> Page:
            events = await self._stream_page(stream_id, start, size, Direction.FORWARD)
            is_full = len(events) == size
            return Page(events, events[-1].version + 1 if events else start, not is_full, is_full)

        async def wait(start: int) -> None:
            head = await self.head()
            # What was appended since the last page is below the head by now.
            if not await self._stream_page(stream_id, start, 1, Direction.FORWARD):
                await self._wait(head)

        return Subscription(Source(begin, read, wait, self._check_open))

    async def _wait(self, after: int, timeout: float = LONGEST_WAIT) -> None:
        await self._while_open(self._backend.wait, after, timeout)

    # --- Consumers -----------------------------------------------------------------------------------------------

    def consumer(
        self,
        name: str,
        handler: Handler,
        *,
        filter: Filter | None = None,
        after: int | LogEnd = 0,
        batch_size: int = 100,
        partitions: int = 1,
        on_error: OnError = OnError.STOP,
        retry: Retry = Retry(),  # noqa: B008 - it cannot change
        lease: float = 5.0,
        replaces: str | None = None,
        on_switch: Switch | None = None,
    ) -> Consumer:
        """Return a consumer: a handler, and a name under which its progress is kept. `await consumer.run()` works.

        `handler` is `async def handler(event)`, or `(events)` for up to `batch_size` at a time: then the position moves
        when it has returned, and after a crash at most one batch is handled twice. With a parameter `tx` beside it the
        handler gets the transaction in which the position moves, for SQL on `tx.connection` or appends through `tx`:
        then everything is done exactly once. It must not block the event loop.

        `after`: where a new consumer begins. `partitions`: 1 to 1,000; streams are spread over them, workers in any
        number of processes share them, and the events of a stream stay in order. `retry` and `on_error`: what is done
        with an event that fails. `lease`: seconds, from 0.1 on; another worker takes over what a dead one had within
        one and a half of it. `replaces`: the name of a consumer whose place this one takes once it has caught up with
        it; the other is ended, and `async def on_switch(tx)` called, in one transaction.

        Raises `InvalidArgument` at once, and `CapabilityNotSupported` without `Capability.CONSUMERS`, or without
        `TRANSACTIONS` for `tx` and `replaces`.
        """
        check_name("name", name)
        check_filter(filter)
        if after is not END:
            check_integer("after", after, 0)
        self._require(Capability.CONSUMERS, "consumer()")
        handling = Handling(handler)
        if replaces is not None:
            check_name("replaces", replaces)
        if handling.exactly_once or replaces is not None:
            self._require(Capability.TRANSACTIONS, "a handler that takes tx, or replaces")
        options = ConsumerOptions(
            filter=filter,
            after=after,
            batch_size=batch_size,
            partitions=partitions,
            on_error=on_error,
            retry=retry,
            lease=lease,
        )
        return Consumer(self, name, handling, options, replaces, on_switch)

    def consumers(self) -> AsyncIterator[ConsumerStatus]:
        """Iterate over the status of every consumer that has begun in this store."""
        self._require(Capability.CONSUMERS, "consumers()")
        return all_consumers(self)

    # --- Transactions --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[StoreTransaction]:
        """Run appends, snapshots, checkpoints and, where the backend has a `connection`, SQL of one's own as one.

            async with store.transaction() as tx:
                await tx.append("order-1", events, expected_version=3)
                await tx.connection.execute("UPDATE stock ...")

        Commits on a clean exit, rolls back on an exception. Others see nothing before the commit. A write past `tx`
        inside the block is refused with `TransactionError`: on some engines it would wait for its own transaction.
        Raises `CapabilityNotSupported` without `Capability.TRANSACTIONS`.
        """
        self._require(Capability.TRANSACTIONS, "transaction()")
        self._check_open()
        self._check_outside_transaction()
        async with self._backend.transaction() as session:
            transaction = StoreTransaction(session, self, self._limits)
            _transactions.set((*(other for other in _transactions.get() if not other._is_over), transaction))
            try:
                yield transaction
            finally:
                transaction._is_over = True

    def bind(self, connection: Any) -> StoreTransaction:
        """Join the transaction that the caller runs on a connection of the backend's driver.

        What is done with the returned transaction commits or rolls back with the caller's. Raises `InvalidArgument` for
        another kind of connection, `CapabilityNotSupported` without `Capability.SQL_TRANSACTIONS`.
        """
        self._require(Capability.SQL_TRANSACTIONS, "bind()")
        self._check_open()
        return StoreTransaction(self._backend.bind(connection), self, self._limits)

    # --- Inside --------------------------------------------------------------------------------------------------

    def _reader(self) -> Session:
        self._check_open()
        return self._backend

    def _writer(self) -> Session:
        self._check_open()
        self._check_outside_transaction()
        return self._backend

    async def _write(self, transaction: Transaction) -> Outcome | Deferred:
        if self._group_commit is None:
            return await self._repeatable(super()._write, transaction)
        self._writer()
        return await self._repeatable(self._group_commit.append, transaction)

    async def _repeatable(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except StoreUnavailable as error:
            if self._retry_timeout == 0:
                raise
            return await call_again(error, self._retry_timeout, partial(call, *args, **kwargs))

    async def _while_open(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a primitive that reads: one of many, between which the store may be closed."""
        self._check_open()
        return await self._repeatable(call, *args, **kwargs)

    async def _once(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except StoreUnavailable as error:
            if self._retry_timeout == 0 or error.outcome_unknown:
                raise
            return await call_again(error, self._retry_timeout, partial(call, *args, **kwargs), if_unknown=False)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreNotOpen(repr(self), closed=self._is_closed)
        self._check_owner()

    def _check_owner(self) -> None:
        if self._owner is not None and not self._owner.is_here():
            raise OpenedElsewhere(repr(self), forked=self._owner.is_another_process())

    def _check_outside_transaction(self) -> None:
        transactions = _transactions.get()
        if transactions and any(transaction.belongs_to(self) for transaction in transactions):
            raise TransactionError(
                "a transaction of this store is in progress in this task: write through it, or after it has ended"
            )

    def _require(self, capability: Capability, call: str) -> None:
        if capability not in self._backend.capabilities:
            raise CapabilityNotSupported(self._backend.name, f"{call} (capability {capability.name})")


class StoreTransaction(Operations):
    """Calls that commit together or not at all. Made by `EventStore.transaction` and `EventStore.bind`."""

    def __init__(self, session: SessionInTransaction, store: EventStore, limits: Limits) -> None:
        super().__init__(limits)
        self._session = session
        self._store = store
        self._is_over = False

    @property
    def connection(self) -> Any:
        """The driver's connection that runs the transaction, for SQL of one's own.

        Raises `CapabilityNotSupported` where the engine has none.
        """
        return self._reader().connection

    def belongs_to(self, store: EventStore) -> bool:
        """Tell whether this is a transaction of `store` that has not ended."""
        return self._store is store and not self._is_over

    def _reader(self) -> SessionInTransaction:
        if self._is_over:
            raise TransactionError("the transaction has ended: begin another with store.transaction()")
        self._store._check_owner()
        return self._session

    _writer = _reader

"""`PostgresBackend`: one store in one schema of a Postgres database, over a pool of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, AsyncTransaction, IsolationLevel
from psycopg.pq import TransactionStatus

from eventstore.backend import (
    Appended,
    Capability,
    Checkpoint,
    Conflict,
    Deferred,
    Direction,
    EncodedSnapshot,
    LogPage,
    Outcome,
    Place,
    RestoredEvent,
    Transaction,
)
from eventstore.cancellation import heeding_cancellation, uninterrupted
from eventstore.errors import InvalidArgument, StoreUnavailable, TransactionError
from eventstore.filters import Filter
from eventstore.watching import Look, Watch
from eventstore_postgres.arrays import register_arrays
from eventstore_postgres.deadlines import Deadline
from eventstore_postgres.failures import translated_failures
from eventstore_postgres.fetching import fetch_in_index_order
from eventstore_postgres.notifications import Notifications
from eventstore_postgres.partitions import Partitions
from eventstore_postgres.pool import Pool
from eventstore_postgres.queries import Queries
from eventstore_postgres.restoring import RestoringSession
from eventstore_postgres.rows import time_of
from eventstore_postgres.schema import found_version, require_current, require_sound_log, upgrade
from eventstore_postgres.session import PostgresTransaction
from eventstore_postgres.settled import SettledLog

DEFAULT_CONNECT_TIMEOUT: Final = 5
# A machine that is gone is noticed in half a minute, on connections that wait and, by the last one, that have sent.
DEFAULT_KEEPALIVES: Final = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_ROLLBACK_TIMEOUT: Final = 5.0
_LINGER: Final = 1.0
_FIRST_LOOK: Final = 0.001
_LAST_LOOK: Final = 0.05


class PostgresBackend(RestoringSession):
    """A store in one schema of a Postgres database, version 13 or newer."""

    name = "Postgres"
    capabilities = frozenset(Capability)

    def __init__(
        self,
        conninfo: str,
        *,
        schema: str = "public",
        migrate: bool = True,
        prepare: bool = True,
        pool_min: int = 1,
        pool_max: int = 10,
        pool_timeout: float = 5.0,
        call_timeout: float = 30.0,
        settle_timeout: float = 0.25,
        listen: bool = True,
        poll_interval: float = 1.0,
        partition_size: int | None = None,
    ) -> None:
        """`conninfo` is what libpq takes; the options are those of the URL, described in docs/postgres.md."""
        queries = Queries(schema)
        super().__init__(queries, Partitions(queries, self._single_connection))
        self._conninfo = conninfo
        self._schema = schema
        self._migrate = migrate
        self._call_timeout = call_timeout
        self._partition_size = partition_size
        self._log = SettledLog(self._queries, settle_timeout, self._connected)
        self._notifications = Notifications(conninfo, schema, self._connected)
        self._watch = Watch(self._look, self._notifications.listen if listen else None, linger=_LINGER)
        self._poll_interval = poll_interval
        self._look_again_in = _FIRST_LOOK
        self._keeper: asyncio.Task[None] | None = None
        self._pool = Pool(
            conninfo,
            min_size=pool_min,
            max_size=pool_max,
            timeout=pool_timeout,
            call_timeout=call_timeout,
            prepare_threshold=2 if prepare else None,
            configure=_configure,
        )

    # --- Lifecycle -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect once to check and upgrade the schema, and let the pool connect on its own from then on."""
        async with self._single_connection() as connection:
            is_partitioned = await require_current(
                connection,
                self._queries,
                self._schema,
                migrate=self._migrate,
                partition_size=self._partition_size,
                call_timeout=self._call_timeout,
            )
            if is_partitioned:
                self._queries.lay_out(is_partitioned=True)
                await self._partitions.open(connection)
        await self._pool.open()
        self._keeper = asyncio.create_task(self._keep_pool())
        # Cancelled before it has begun, a task does nothing at all.
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Close the pool; a cancellation is passed on when that is done."""
        await uninterrupted(self._close())

    async def _close(self) -> None:
        await self._watch.close()
        await self._notifications.close()
        await self._partitions.close()
        await self._pool.close()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    async def _keep_pool(self) -> None:
        """Close the pool when an event loop ends that still has it open, and cancels its tasks.

        A worker of the pool that is connecting does not heed its own cancellation, and the loop would wait for it.
        """
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self._pool.close()

    async def migrate(self) -> None:
        """Create or upgrade the schema."""
        async with self._single_connection() as connection:
            await upgrade(connection, self._queries, self._schema, self._partition_size)
            await require_sound_log(connection, self._queries, self._partition_size)

    async def schema_version(self) -> int:
        """Return the version of the schema."""
        async with self._single_connection() as connection:
            with Deadline(connection, self._call_timeout):
                return await found_version(connection, self._queries)

    @asynccontextmanager
    async def _single_connection(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection outside the pool, which says at once why there is none."""
        try:
            connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
        except (psycopg.Error, UnicodeError) as error:
            raise StoreUnavailable(f"cannot connect to Postgres: {str(error).strip()}") from error
        async with connection:
            with translated_failures():
                await _configure(connection)
                yield connection

    # --- The log -------------------------------------------------------------------------------------------------

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return a page of the settled log."""
        return await self._log.read(start, limit, direction, filter)

    async def head(self) -> int:
        """Return the last settled position."""
        return await self._log.head()

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome | Deferred]:
        """Store each transaction, or say why not, and wake those who wait."""
        outcomes = await super().append(transactions)
        if any(isinstance(outcome, Appended) for outcome in outcomes):
            self._committed()
        return outcomes

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        """Store events as another store recorded them, or say why not, and wake those who wait."""
        outcome = await super().restore(events)
        if not isinstance(outcome, Conflict):
            self._committed()
        return outcome

    def _committed(self) -> None:
        self._watch.nudge()
        self._notifications.tell()

    async def wait(self, after: int, timeout: float) -> None:
        """Return when there is something settled after a position: when a commit is told, or by a slow poll."""
        await self._watch.wait(after, timeout)

    async def _look(self) -> Look:
        head, is_all = await self._log.look()
        if is_all:
            self._look_again_in = _FIRST_LOOK
            return Look(head, self._poll_interval)
        # Appends are in flight: whoever holds one may be another process, and will not tell if it rolls back.
        self._look_again_in = min(2 * self._look_again_in, _LAST_LOOK)
        return Look(head, self._look_again_in)

    # --- What is kept, as `verify` looks at it -------------------------------------------------------------------

    async def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        """Return where events stand, by stream and version."""
        after_id, after_version = after or ("", 0)
        parameters = {"after": after_id, "after_version": after_version, "limit": limit}
        async with self._connected() as connection:
            rows = await fetch_in_index_order(connection, self._queries["list_places"], parameters)
        return [Place(stream_id, version, position, time_of(sent)) for stream_id, version, position, sent in rows]

    async def list_snapshots(self, after: str | None, limit: int) -> list[EncodedSnapshot]:
        """Return a page of snapshots by stream id."""
        async with self._connected() as connection:
            rows = await self._fetch(connection, "list_snapshots", {"after": after or "", "limit": limit})
        return [EncodedSnapshot(stream_id, version, data.encode()) for stream_id, version, data in rows]

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        """Return a page of checkpoints by name."""
        async with self._connected() as connection:
            rows = await self._fetch(connection, "list_checkpoints", {"after": after or "", "limit": limit})
        return [Checkpoint(*row) for row in rows]

    # --- Transactions --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """Run a transaction on a connection of the pool. What the caller's own SQL raises passes as it is."""
        with heeding_cancellation():
            async with self._transaction() as transaction:
                yield transaction

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[PostgresTransaction]:
        with translated_failures():
            connection = await self._pool.take()
        try:
            transaction = connection.transaction()
            with translated_failures(), self._pool.limit(connection):
                await transaction.__aenter__()
            try:
                yield _OwnTransaction(self._queries, self._partitions, connection, self._pool)
            except BaseException as reason:
                with self._pool.limit(connection):
                    await uninterrupted(_roll_back(connection, transaction, reason))
                raise
            with self._pool.limit(connection):
                await _commit(connection, transaction)
            self._committed()
        finally:
            await uninterrupted(self._pool.give_back(connection))

    def bind(self, connection: Any) -> PostgresTransaction:
        """Join the transaction on the caller's psycopg connection."""
        if not isinstance(connection, AsyncConnection):
            raise InvalidArgument("connection", connection, "give a psycopg.AsyncConnection")
        if connection.info.encoding != "utf-8":
            raise InvalidArgument("connection", connection, "its client_encoding must be UTF8")
        register_arrays(connection)
        return _BoundTransaction(self._queries, self._partitions, connection)

    @property
    def _in_transaction(self) -> bool:
        return False

    def _connected(self, *, writes: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._pool.lend(writes=writes)


class _OwnTransaction(PostgresTransaction):
    """A transaction that the store begins and ends, on a connection of its pool."""

    def __init__(self, queries: Queries, partitions: Partitions, connection: AsyncConnection, pool: Pool) -> None:
        super().__init__(queries, partitions, connection)
        self._pool = pool

    @asynccontextmanager
    async def _connected(self, *, writes: bool = False) -> AsyncIterator[AsyncConnection]:
        async with super()._connected(writes=writes) as connection:
            with self._pool.limit(connection):
                yield connection


class _BoundTransaction(PostgresTransaction):
    """A transaction that the caller runs, begins and ends."""

    @asynccontextmanager
    async def _connected(self, *, writes: bool = False) -> AsyncIterator[AsyncConnection]:
        async with super()._connected(writes=writes) as connection:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                if connection.autocommit:
                    raise TransactionError(
                        "the bound connection commits each statement by itself: begin a transaction on it first, "
                        "with `async with connection.transaction():`"
                    )
                # psycopg begins the caller's transaction before its first statement; a savepoint alone would commit.
                await connection.execute("SELECT")
            yield connection


async def _commit(connection: AsyncConnection, transaction: AbstractAsyncContextManager[AsyncTransaction]) -> None:
    if connection.info.transaction_status == TransactionStatus.INERROR:
        # The server would answer a COMMIT with a rollback, and psycopg would not tell.
        failure = TransactionError(
            "a statement of the transaction failed, so Postgres can only roll it back: let its error leave the block, "
            "or run the statement in a savepoint, `async with tx.connection.transaction():`"
        )
        with translated_failures(in_transaction=True):
            await transaction.__aexit__(type(failure), failure, None)
        raise failure
    with translated_failures(in_transaction=True, commits=True):
        await transaction.__aexit__(None, None, None)


async def _roll_back(
    connection: AsyncConnection, transaction: AbstractAsyncContextManager[AsyncTransaction], reason: BaseException
) -> None:
    """Roll back; a server that does not answer rolls back by itself when the connection is gone.

    What made us leave is what the caller must see, so that no other failure is raised.
    """
    with suppress(psycopg.Error), Deadline(connection, _ROLLBACK_TIMEOUT):
        await transaction.__aexit__(type(reason), reason, None)


async def _configure(connection: AsyncConnection) -> None:
    register_arrays(connection)
    # Whatever the server's default is: what others commit must be seen from one statement to the next.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)

"""`PostgresBackend`: one store in one schema of a Postgres database, over a pool of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, AsyncTransaction, IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from eventstore.backend import Appended, Capability, Deferred, Direction, LogPage, Outcome, Transaction
from eventstore.cancellation import heeding_cancellation, uninterrupted
from eventstore.errors import InvalidArgument, StoreUnavailable, TransactionError
from eventstore.filters import Filter
from eventstore.watching import Look, Watch
from eventstore_postgres.arrays import register_arrays
from eventstore_postgres.failures import translated, translated_failures
from eventstore_postgres.notifications import Notifications
from eventstore_postgres.partitions import Partitions
from eventstore_postgres.queries import Queries
from eventstore_postgres.schema import found_layout, found_version, require_current, upgrade
from eventstore_postgres.session import PostgresSession, PostgresTransaction
from eventstore_postgres.settled import SettledLog

DEFAULT_CONNECT_TIMEOUT: Final = 5
_ROLLBACK_TIMEOUT: Final = 5.0
_LINGER: Final = 1.0
_FIRST_LOOK: Final = 0.001
_LAST_LOOK: Final = 0.05


class PostgresBackend(PostgresSession):
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
        self._partition_size = partition_size
        self._prepare_threshold = 2 if prepare else None
        self._log = SettledLog(self._queries, settle_timeout, self._connected)
        self._notifications = Notifications(conninfo, schema, self._connected)
        self._watch = Watch(self._look, self._notifications.listen if listen else None, linger=_LINGER)
        self._poll_interval = poll_interval
        self._look_again_in = _FIRST_LOOK
        self._keeper: asyncio.Task[None] | None = None
        self._pool = AsyncConnectionPool(
            conninfo,
            open=False,
            min_size=min(pool_min, pool_max),
            max_size=pool_max,
            timeout=pool_timeout,
            kwargs={"autocommit": True, "prepare_threshold": self._prepare_threshold},
            configure=_configure,
        )

    # --- Lifecycle -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect once to check and upgrade the schema, and let the pool connect on its own from then on."""
        async with self._single_connection() as connection:
            await require_current(
                connection,
                self._queries,
                self._schema,
                migrate=self._migrate,
                partition_size=self._partition_size,
            )
            if await found_layout(connection, self._queries, self._partition_size):
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
            await found_layout(connection, self._queries, self._partition_size)

    async def schema_version(self) -> int:
        """Return the version of the schema."""
        async with self._single_connection() as connection:
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
            connection = await self._pool.getconn()
        try:
            transaction = connection.transaction()
            with translated_failures():
                await transaction.__aenter__()
            try:
                yield PostgresTransaction(self._queries, self._partitions, connection)
            except BaseException as reason:
                await uninterrupted(_roll_back(connection, transaction, reason))
                raise
            await _commit(connection, transaction)
            self._committed()
        finally:
            await uninterrupted(self._pool.putconn(connection))

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
        return _Lent(self._pool, writes=writes)


class _Lent:
    """A connection of the pool, for one call.

    It does what `AsyncConnectionPool.connection`, `heeding_cancellation` and `translated_failures` do one within the
    other; that took a tenth of an append.
    """

    __slots__ = ("_cancellations", "_connection", "_pool", "_writes")

    def __init__(self, pool: AsyncConnectionPool, *, writes: bool) -> None:
        self._pool = pool
        self._writes = writes

    async def __aenter__(self) -> AsyncConnection:
        self._cancellations = _cancellations()
        try:
            self._connection = await self._pool.getconn()
        except Exception as error:
            failure = translated(error)
            if failure is error:
                raise
            raise failure from error
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Rolled back or thrown away, if need be.
        await self._pool.putconn(self._connection)
        if isinstance(error, Exception):
            failure = translated(error, commits=self._writes)
            if failure is not error:
                raise failure from error
        if error is None and _cancellations() > self._cancellations:
            raise asyncio.CancelledError


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


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
    with suppress(psycopg.Error):
        try:
            async with asyncio.timeout(_ROLLBACK_TIMEOUT):
                await transaction.__aexit__(type(reason), reason, None)
        except TimeoutError:
            await connection.close()


async def _configure(connection: AsyncConnection) -> None:
    register_arrays(connection)
    # Whatever the server's default is: what others commit must be seen from one statement to the next.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)

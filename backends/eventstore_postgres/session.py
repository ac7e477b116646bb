"""The primitives of `eventstore.backend` on a Postgres connection, in a transaction or on their own."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection

from eventstore.backend import (
    Conflict,
    Deferred,
    Direction,
    EncodedSnapshot,
    Entry,
    Outcome,
    Snapshot,
    StreamInfo,
    StreamState,
    Transaction,
)
from eventstore.cancellation import heeding_cancellation
from eventstore.errors import TransactionConflict
from eventstore.events import RecordedEvent, decode_json, stream_type_of
from eventstore.filters import wanted_ids
from eventstore.versions import MAX_VERSION, ExpectedVersion, is_met
from eventstore_postgres.appending import DECIDING_INDEXES, append_all, append_one
from eventstore_postgres.arrays import TextArray
from eventstore_postgres.failures import translated_failures
from eventstore_postgres.fetching import fetch
from eventstore_postgres.jsonb import jsonb_text
from eventstore_postgres.partitions import Partitions
from eventstore_postgres.queries import Queries
from eventstore_postgres.rows import recorded_event

_LOCK_SEED: Final = 0x6576656E74

T = TypeVar("T")


class PostgresSession(ABC):
    """Implements `eventstore.backend.Session` over connections that its subclasses provide."""

    def __init__(self, queries: Queries, partitions: Partitions) -> None:
        self._queries = queries
        self._partitions = partitions

    @abstractmethod
    def _connected(self, *, writes: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """Provide a connection for one call, with the driver's failures translated."""

    @property
    @abstractmethod
    def _in_transaction(self) -> bool:
        """Whether the calls are part of a transaction that goes on."""

    # --- Appending -----------------------------------------------------------------------------------------------

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome | Deferred]:
        """Store each transaction, or say why not."""
        async with self._connected(writes=True) as connection:
            if self._in_transaction:
                outcomes: Sequence[Outcome | Deferred] = [await self._append(connection, it) for it in transactions]
            else:
                append = partial(append_all, self._queries, connection, transactions)
                outcomes = await self._partitions.with_room(append, partial(_count_events, transactions))
        self._partitions.note(outcomes)
        return outcomes

    async def _append(self, connection: AsyncConnection, transaction: Transaction) -> Outcome:
        append = partial(append_one, self._queries, connection, transaction, in_transaction=True)
        outcome = await self._partitions.with_room(append, partial(_count_events, [transaction]))
        if isinstance(outcome, Conflict) and _is_spurious(transaction, outcome):
            await self._check_isolation(connection)
        return outcome

    async def _check_isolation(self, connection: AsyncConnection) -> None:
        """Refuse to try for ever what a snapshot taken before the other writer's commit can never place."""
        ((isolation,),) = await fetch(connection, b"SHOW transaction_isolation", {})
        if isolation != "read committed":
            raise TransactionConflict(
                f"another writer was faster and this {isolation} transaction cannot see its events: run it again"
            )

    # --- Reading a stream ----------------------------------------------------------------------------------------

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        """Return a page of a stream, None if it is deleted."""
        forward = direction is Direction.FORWARD
        parameters = {"stream_id": stream_id, "start": start or (1 if forward else MAX_VERSION), "limit": limit}
        if start is not None:
            parameters["start"] = start
        async with self._connected() as connection:
            rows = await self._fetch(
                connection, "read_stream_forward" if forward else "read_stream_backward", parameters
            )
            if not rows and (await self._state(connection, stream_id)).deleted:
                return None
        return [recorded_event(row) for row in rows]

    async def _state(self, connection: AsyncConnection, stream_id: str) -> StreamState:
        _, _, version, deleted, _ = await self._head(connection, stream_id)
        return StreamState(stream_id, version, deleted)

    # --- Streams -------------------------------------------------------------------------------------------------

    async def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream."""
        async with self._connected() as connection:
            infos = await self._infos(connection, [stream_id])
        return infos[0] if infos else None

    async def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        """Return a page of streams by id."""
        found: list[StreamInfo] = []
        alone, prefix = wanted_ids(stream_type, prefix)
        parameters = {"prefix": prefix, "after": after or "", "limit": limit}
        async with self._connected() as connection:
            if alone is not None and (after is None or alone > after):
                infos = await self._infos(connection, [alone])
                found += [info for info in infos if include_deleted or not info.deleted]
            while prefix is not None and len(found) < limit:
                ids = [stream_id for (stream_id,) in await self._fetch(connection, "stream_ids", parameters)]
                found += [info for info in await self._infos(connection, ids) if include_deleted or not info.deleted]
                if len(ids) < limit:
                    break
                parameters["after"] = ids[-1]
        return found[:limit]

    async def _infos(self, connection: AsyncConnection, stream_ids: list[str]) -> list[StreamInfo]:
        rows = await self._fetch(connection, "stream_info", {"stream_ids": TextArray(stream_ids)})
        return [
            StreamInfo(stream_id, stream_type_of(stream_id), version, first_version, deleted)
            for stream_id, version, first_version, deleted in rows
        ]

    # --- Lifecycle -----------------------------------------------------------------------------------------------

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        """Remove events below a version."""
        async with self._connected(writes=True) as connection, connection.transaction():
            await self._lock(connection, stream_id)
            _, _, version, deleted, created_at = await self._head(connection, stream_id)
            if deleted:
                return None
            if version == 0:
                return 0
            first_version = min(before_version, version + 1)
            return await self._remove(connection, stream_id, version, first_version, created_at, deleted=False)

    async def delete_stream(
        self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        """Put a tombstone on a stream."""
        async with self._connected(writes=True) as connection:
            delete = partial(self._delete, connection, stream_id, expected_version, erase=erase)
            return await self._guarded(connection, delete)

    async def _guarded(self, connection: AsyncConnection, change: Callable[[], Awaitable[T]]) -> T:
        """Do what puts a guard into a stream; do it again when an append was faster."""
        while True:
            try:
                return await self._partitions.with_room(change)
            except psycopg.errors.UniqueViolation as error:
                if error.diag.constraint_name not in DECIDING_INDEXES:
                    raise
                if self._in_transaction:
                    await self._check_isolation(connection)

    async def _delete(
        self, connection: AsyncConnection, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        async with connection.transaction():
            await self._lock(connection, stream_id)
            _, _, version, deleted, created_at = await self._head(connection, stream_id)
            infos = await self._infos(connection, [stream_id])
            first_version = infos[0].first_version if infos else 1
            nothing_left = deleted and not (erase and first_version <= version)
            if nothing_left or not is_met(expected_version, version):
                return StreamState(stream_id, version, deleted)
            if not deleted:
                guard = {"stream_id": stream_id, "version": version + 1}
                await connection.execute(self._queries["guard_stream"], guard)
                await connection.execute(self._queries["delete_snapshots"], {"stream_id": stream_id})
            kept_from = version + 1 if erase else first_version
            await self._remove(connection, stream_id, version, kept_from, created_at, deleted=True)
            return None

    async def _remove(
        self,
        connection: AsyncConnection,
        stream_id: str,
        version: int,
        first_version: int,
        created_at: datetime | None,
        *,
        deleted: bool,
    ) -> int:
        """Remove events below `first_version` and write down what the stream is then; return how many."""
        await self._fetch(connection, "allow_removal", {"allowed": "allowed"})
        ((removed, last_position),) = await self._fetch(
            connection, "remove_events", {"stream_id": stream_id, "before_version": first_version}
        )
        await self._fetch(connection, "allow_removal", {"allowed": ""})
        await self._save_lifecycle(
            connection, stream_id, version, first_version, created_at, deleted=deleted, last_position=last_position
        )
        return int(removed)

    async def _save_lifecycle(
        self,
        connection: AsyncConnection,
        stream_id: str,
        version: int,
        first_version: int,
        created_at: datetime | None,
        *,
        deleted: bool,
        last_position: int,
    ) -> None:
        parameters = {
            "stream_id": stream_id,
            "deleted": deleted,
            "version": version,
            "first_version": first_version,
            "created_at": created_at,
            "last_position": last_position,
        }
        await connection.execute(self._queries["save_lifecycle"], parameters)

    async def _lock(self, connection: AsyncConnection, stream_id: str) -> None:
        await connection.execute(self._queries["lock_stream"], {"stream_id": stream_id, "seed": _LOCK_SEED})

    async def _head(self, connection: AsyncConnection, stream_id: str) -> tuple[Any, ...]:
        (head,) = await self._fetch(connection, "heads", {"stream_ids": TextArray([stream_id])})
        return head

    # --- Snapshots and checkpoints -------------------------------------------------------------------------------

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the latest snapshot."""
        async with self._connected() as connection:
            rows = await self._fetch(connection, "load_snapshot", {"stream_id": stream_id})
        for version, data, created_at in rows:
            return Snapshot(stream_id, version, decode_json(data), created_at.astimezone(UTC))
        return None

    async def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        """Keep a snapshot unless a later one is there."""
        stream_id = snapshot.stream_id
        async with self._connected(writes=True) as connection, connection.transaction():
            # Against a delete in flight, which must not leave a snapshot behind.
            await self._lock(connection, stream_id)
            if self._in_transaction:
                await self._fetch(connection, "require_current_view", {"stream_ids": TextArray([stream_id])})
            state = await self._state(connection, stream_id)
            if state.deleted or state.version < snapshot.version:
                return state
            parameters = {
                "stream_id": stream_id,
                "version": snapshot.version,
                "data": jsonb_text(snapshot.data).decode(),
            }
            await connection.execute(self._queries["save_snapshot"], parameters)
        return None

    async def delete_snapshots(self, stream_id: str) -> None:
        """Forget the snapshots of a stream."""
        async with self._connected(writes=True) as connection:
            await connection.execute(self._queries["delete_snapshots"], {"stream_id": stream_id})

    async def load_checkpoint(self, name: str) -> int:
        """Return a checkpoint's position."""
        async with self._connected() as connection:
            return await self._checkpoint(connection, name)

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        """Move a checkpoint if it is where it is expected."""
        parameters = {"name": name, "position": position, "expected": expected}
        async with self._connected(writes=True) as connection:
            while not await self._fetch(connection, "save_checkpoint", parameters):
                found = await self._checkpoint(connection, name)
                if found != expected:
                    return found
        return expected

    # --- What consumers keep -------------------------------------------------------------------------------------

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Return a page of entries."""
        after_name, after_key = after or ("", "")
        parameters = {"prefix": prefix, "after_name": after_name, "after_key": after_key, "limit": limit, "name": name}
        query = self._queries["list_entries"] + (b"AND name = %(name)s\n" if name is not None else b"")
        async with self._connected() as connection:
            rows = await fetch(connection, query + self._queries["entries_in_order"], parameters)
        return [Entry(found, key, version, data.encode()) for found, key, version, data in rows]

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Keep an entry, or remove it, if its version is the one expected."""
        parameters: dict[str, Any] = {"name": name, "key": key, "expected": expected}
        query = "remove_entry"
        if data is not None:
            query, parameters["data"] = "save_entry", data.decode()
        async with self._connected(writes=True) as connection:
            while not await self._fetch(connection, query, parameters):
                rows = await self._fetch(connection, "entry_version", {"name": name, "key": key})
                found = int(rows[0][0]) if rows else 0
                if found != expected or (data is None and found == 0):
                    return found
        return expected

    async def _checkpoint(self, connection: AsyncConnection, name: str) -> int:
        rows = await self._fetch(connection, "load_checkpoint", {"name": name})
        return int(rows[0][0]) if rows else 0

    async def _fetch(
        self, connection: AsyncConnection, query: str, parameters: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        return await fetch(connection, self._queries[query], parameters)


class PostgresTransaction(PostgresSession):
    """The calls of one transaction, on the connection that runs it."""

    def __init__(self, queries: Queries, partitions: Partitions, connection: AsyncConnection) -> None:
        super().__init__(queries, partitions)
        self._connection = connection
        # Savepoints of calls that run side by side would not nest.
        self._one_call = asyncio.Lock()

    @property
    def connection(self) -> AsyncConnection:
        """The psycopg connection that runs the transaction."""
        return self._connection

    @property
    def _in_transaction(self) -> bool:
        return True

    @asynccontextmanager
    async def _connected(self, *, writes: bool = False) -> AsyncIterator[AsyncConnection]:
        # Whatever it writes, nothing has taken effect before the transaction commits.
        async with self._one_call:
            with heeding_cancellation(), translated_failures(in_transaction=True):
                yield self._connection


def _count_events(transactions: Sequence[Transaction]) -> int:
    return sum(len(append.events) for transaction in transactions for append in transaction)


def _is_spurious(transaction: Transaction, conflict: Conflict) -> bool:
    """Tell whether the facts show nothing that stands against the append."""
    return not conflict.stored and all(
        not state.deleted and is_met(append.expected_version, state.version)
        for append, state in zip(transaction, conflict.streams, strict=True)
    )

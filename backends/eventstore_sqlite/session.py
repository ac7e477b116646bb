"""`SqliteSession`: the primitives that work alike on a store and inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventstore.backend import (
    Direction,
    EncodedSnapshot,
    Entry,
    Outcome,
    Snapshot,
    StreamInfo,
    StreamState,
    Transaction,
)
from eventstore.batches import batches
from eventstore.events import RecordedEvent
from eventstore.versions import ExpectedVersion, is_met
from eventstore_sqlite import queries, records
from eventstore_sqlite.appending import append_batch
from eventstore_sqlite.statements import Run, Statements


class SqliteSession:
    """The primitives, over a place to run statements."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    # --- Events --------------------------------------------------------------------------------------------------

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        """Store each transaction, or say why not: one statement, unless transactions share a stream or an id."""
        in_order = list(batches(transactions))
        if len(in_order) == 1:
            return await append_batch(in_order[0], self._statements.write, self._statements.read)
        outcomes: list[Outcome] = []
        if in_order:
            async with self._statements.writing() as run:
                for batch in in_order:
                    outcomes += await append_batch(batch, run, run)
        return outcomes

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        """Return a page of a stream, None if it is deleted."""
        first, last = 1, queries.MAX_INTEGER
        if start is not None and direction is Direction.FORWARD:
            first = start
        elif start is not None:
            last = start
        parameters = {"stream_id": stream_id, "first": first, "last": last, "limit": limit}
        ((*_, deleted),), events = records.split_facts(
            await self._statements.read(queries.READ_STREAM[direction], parameters)
        )
        return None if deleted else events

    # --- Streams -------------------------------------------------------------------------------------------------

    async def stream_info(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream."""
        return await find_stream(stream_id, self._statements.read)

    async def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        """Return a page of streams by id."""
        parameters = queries.many_streams(stream_type, prefix, after, limit, include_deleted=include_deleted)
        return [records.stream_info(row) for row in await self._statements.read(queries.STREAMS, parameters)]

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        """Remove events below a version."""
        async with self._statements.writing() as run:
            stream = await find_stream(stream_id, run)
            if stream is None:
                return 0
            if stream.deleted:
                return None
            # The versions of a stream have no holes.
            removed = max(0, min(before_version, stream.version + 1) - stream.first_version)
            if removed:
                await run(queries.KEEP_LIFECYCLE, _lifecycle(stream_id, stream.version, deleted=False))
                await run(queries.REMOVE_EVENTS, {"stream_id": stream_id, "before_version": before_version})
            return removed

    async def delete_stream(
        self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
    ) -> StreamState | None:
        """Put a tombstone on a stream."""
        async with self._statements.writing() as run:
            stream = await find_stream(stream_id, run)
            state = state_of(stream_id, stream)
            has_events = stream is not None and stream.first_version <= stream.version
            nothing_left = state.deleted and not (erase and has_events)
            if nothing_left or not is_met(expected_version, state.version):
                return state
            await run(queries.KEEP_LIFECYCLE, _lifecycle(stream_id, state.version, deleted=True))
            await run(queries.DELETE_SNAPSHOTS, {"stream_id": stream_id})
            if erase:
                await run(queries.REMOVE_EVENTS, {"stream_id": stream_id, "before_version": queries.MAX_INTEGER})
            return None

    # --- Snapshots and checkpoints -------------------------------------------------------------------------------

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the latest snapshot."""
        rows = await self._statements.read(queries.LOAD_SNAPSHOT, {"stream_id": stream_id})
        return records.snapshot(stream_id, rows[0]) if rows else None

    async def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        """Keep a snapshot unless a later one is there."""
        async with self._statements.writing() as run:
            state = state_of(snapshot.stream_id, await find_stream(snapshot.stream_id, run))
            if state.deleted or state.version < snapshot.version:
                return state
            parameters = {
                "stream_id": snapshot.stream_id,
                "version": snapshot.version,
                "data": snapshot.data.decode(),
            }
            await run(queries.SAVE_SNAPSHOT, parameters)
            return None

    async def delete_snapshots(self, stream_id: str) -> None:
        """Forget the snapshots of a stream."""
        await self._statements.write(queries.DELETE_SNAPSHOTS, {"stream_id": stream_id})

    async def load_checkpoint(self, name: str) -> int:
        """Return a checkpoint's position."""
        rows = await self._statements.read(queries.LOAD_CHECKPOINT, {"name": name})
        return rows[0][0] if rows else 0

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        """Move a checkpoint if it is where it is expected."""
        parameters = {"name": name, "position": position, "expected": expected}
        while not await self._statements.write(queries.SAVE_CHECKPOINT, parameters):
            found = await self.load_checkpoint(name)
            # Otherwise it came to where it is expected in between.
            if found != expected:
                return found
        return expected

    # --- What consumers keep -------------------------------------------------------------------------------------

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Return a page of entries."""
        after_name, after_key = after or ("", "")
        parameters = {"prefix": prefix, "after_name": after_name, "after_key": after_key, "limit": limit}
        if name is None:
            rows = await self._statements.read(queries.LIST_ENTRIES, parameters)
        else:
            rows = await self._statements.read(queries.LIST_ENTRIES_OF_ONE, parameters | {"name": name})
        return [Entry(found, key, version, data.encode()) for found, key, version, data in rows]

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Keep an entry, or remove it, if its version is the one expected."""
        parameters = {"name": name, "key": key, "expected": expected}
        if data is None and expected == 0:
            return await self._entry_version(parameters)
        query = queries.REMOVE_ENTRY
        if data is not None:
            query, parameters["data"] = queries.SAVE_ENTRY, data.decode()
        while not await self._statements.write(query, parameters):
            found = await self._entry_version(parameters)
            # Otherwise it came to be as expected in between.
            if found != expected:
                return found
        return expected

    async def _entry_version(self, parameters: Mapping[str, object]) -> int:
        rows = await self._statements.read(queries.ENTRY_VERSION, parameters)
        return rows[0][0] if rows else 0


async def find_stream(stream_id: str, run: Run) -> StreamInfo | None:
    """Return what is known of a stream, seen by `run`."""
    rows = await run(queries.STREAMS, queries.one_stream(stream_id))
    return records.stream_info(rows[0]) if rows else None


def state_of(stream_id: str, stream: StreamInfo | None) -> StreamState:
    """Return the state of a stream that was looked for, and may not be there."""
    if stream is None:
        return StreamState(stream_id, 0, deleted=False)
    return StreamState(stream_id, stream.version, stream.deleted)


def _lifecycle(stream_id: str, version: int, *, deleted: bool) -> dict[str, object]:
    return {"stream_id": stream_id, "version": version, "deleted": deleted}

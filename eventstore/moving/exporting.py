"""Exporting a store: all that it has, up to the head that the log has at the beginning, as records of `records`.

Others may use the store meanwhile. The log is read once, in pages; up to that head no event comes any more. What
streams went through, snapshots, checkpoints and consumers are read afterwards, so that they may know of more than the
log that was read; then they are told as of its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, TypeVar

from msgspec.structs import replace

from eventstore.backend import Backend, Capability
from eventstore.errors import StorageError
from eventstore.events import JsonObject, RecordedEvent, decode_json
from eventstore.ledger import PAGE, WORKER
from eventstore.moving.log import log_up_to
from eventstore.moving.records import (
    FORMAT,
    AnyRecord,
    Checkpoint,
    ConsumerEntry,
    End,
    Event,
    Header,
    Snapshot,
    Stream,
    encode_line,
)
from eventstore.progress import Progress, ProgressCallback
from eventstore.retries import Call

T = TypeVar("T")
K = TypeVar("K")

_SNAPSHOTS: Final = 50
"""How many are read at a time: each may have a megabyte."""


async def export_lines(
    backend: Backend, call: Call, page_size: int, progress: ProgressCallback | None
) -> AsyncIterator[bytes]:
    """Yield a store as the lines of an export."""
    digest = sha256()
    async for record in Exporter(backend, call, page_size, progress).records():
        if isinstance(record, End):
            record = replace(record, sha256=digest.hexdigest())
        line = encode_line(record)
        digest.update(line)
        yield line


class Exporter:
    """One export of a store. Of a stream its id and its version are kept in memory, of an event nothing."""

    def __init__(self, backend: Backend, call: Call, page_size: int, progress: ProgressCallback | None) -> None:
        self._backend = backend
        self._call = call
        self._page_size = page_size
        self._progress = progress
        self._head = 0
        self._versions: dict[str, int] = {}
        self._deleted: set[str] = set()
        # The first versions after those that are missing, until it is known that they were truncated.
        self._gaps: dict[str, int] = {}

    async def records(self) -> AsyncIterator[AnyRecord]:
        """Yield the records, from the header to the end."""
        self._head = await self._call(self._backend.head)
        yield Header(FORMAT, self._head, self._backend.name, datetime.now(UTC))
        counts: Counter[type[AnyRecord]] = Counter()
        for part in (self._events, self._streams, self._snapshots, self._checkpoints, self._consumers):
            async for record in part():
                counts[type(record)] += 1
                yield record
        yield End(
            events=counts[Event],
            streams=counts[Stream],
            snapshots=counts[Snapshot],
            checkpoints=counts[Checkpoint],
            consumers=counts[ConsumerEntry],
        )

    # --- The log -------------------------------------------------------------------------------------------------

    async def _events(self) -> AsyncIterator[AnyRecord]:
        async for events in log_up_to(self._backend, self._call, self._head, self._page_size):
            for event in events:
                yield self._event(event)
            if events and self._progress is not None:
                self._progress(Progress("export", events[-1].global_position, self._head))

    def _event(self, event: RecordedEvent) -> Event:
        if event.version != self._versions.get(event.stream_id, 0) + 1:
            self._gaps[event.stream_id] = event.version
        self._versions[event.stream_id] = event.version
        return Event(
            event.stream_id,
            event.version,
            event.global_position,
            event.event_id,
            event.event_type,
            event.created_at,
            event.data,
            event.metadata,
        )

    # --- All the rest --------------------------------------------------------------------------------------------

    async def _streams(self) -> AsyncIterator[AnyRecord]:
        infos = _pages(
            lambda after, limit: self._call(self._backend.list_streams, None, None, after, limit, include_deleted=True),
            lambda info: info.stream_id,
            self._page_size,
        )
        async for info in infos:
            if self._gaps.pop(info.stream_id, 1) > info.first_version:
                raise _damaged(info.stream_id)
            if info.deleted:
                self._deleted.add(info.stream_id)
            if info.deleted or info.first_version > 1:
                # What was appended since the log was read is left out.
                version = max(self._versions.get(info.stream_id, 0), info.first_version - 1)
                self._versions[info.stream_id] = version
                yield Stream(info.stream_id, version, info.first_version, info.deleted)
        for stream_id in self._gaps:
            raise _damaged(stream_id)

    async def _snapshots(self) -> AsyncIterator[AnyRecord]:
        snapshots = _pages(
            lambda after, limit: self._call(self._backend.list_snapshots, after, limit),
            lambda kept: kept.stream_id,
            _SNAPSHOTS,
        )
        async for kept in snapshots:
            if kept.stream_id not in self._deleted and kept.version <= self._versions.get(kept.stream_id, 0):
                yield Snapshot(kept.stream_id, kept.version, _object(kept.data, f"the snapshot of {kept.stream_id!r}"))

    async def _checkpoints(self) -> AsyncIterator[AnyRecord]:
        checkpoints = _pages(
            lambda after, limit: self._call(self._backend.list_checkpoints, after, limit),
            lambda kept: kept.name,
            PAGE,
        )
        async for kept in checkpoints:
            yield Checkpoint(kept.name, kept.position)

    async def _consumers(self) -> AsyncIterator[AnyRecord]:
        if Capability.CONSUMERS not in self._backend.capabilities:
            return
        entries = _pages(
            lambda after, limit: self._call(self._backend.list_entries, None, "", after, limit),
            lambda entry: (entry.name, entry.key),
            PAGE,
        )
        async for entry in entries:
            # Workers stay where they are.
            if not entry.key.startswith(WORKER):
                what = f"the entry {entry.key!r} of consumer {entry.name!r}"
                yield ConsumerEntry(entry.name, entry.key, _object(entry.data, what))


async def _pages(
    page_after: Callable[[K | None, int], Awaitable[list[T]]], key: Callable[[T], K], limit: int
) -> AsyncIterator[T]:
    after: K | None = None
    while True:
        page = await page_after(after, limit)
        for item in page:
            yield item
        if len(page) < limit:
            return
        after = key(page[-1])


def _object(text: bytes, what: str) -> JsonObject:
    try:
        value = decode_json(text)
    except ValueError as error:
        raise StorageError(f"{what} is damaged, see what verify() says of the store: {error}") from error
    if type(value) is not dict:
        raise StorageError(f"{what} is damaged, see what verify() says of the store: it is no JSON object")
    return value


def _damaged(stream_id: str) -> StorageError:
    return StorageError(
        f"stream {stream_id!r} lacks events that were not truncated, so that no sound export can be made of the store: "
        "see what verify() says of it"
    )

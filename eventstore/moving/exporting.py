"""Exporting a store: all that it has, up to the head that the log has at the beginning, as lines of `records`.

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

from eventstore.backend import Backend, Capability, Entry, StreamInfo
from eventstore.errors import StorageError
from eventstore.events import JsonObject, RecordedEvent, decode_json
from eventstore.ledger import PAGE, PARKED, PARTITION, SETTINGS
from eventstore.moving.entries import ConsumerState, parse_entry
from eventstore.moving.log import Log
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

_SNAPSHOTS: Final = 10
"""How many are read at a time: each may have a megabyte."""


class Exporter:
    """One export of a store. Of a stream its id and its version are kept in memory, of an event nothing."""

    def __init__(self, backend: Backend, call: Call, progress: ProgressCallback | None) -> None:
        self._backend = backend
        self._call = call
        self._progress = progress
        self._head = 0
        self._counts: Counter[type[AnyRecord]] = Counter()
        self._digest = sha256()
        self._versions: dict[str, int] = {}
        self._deleted: set[str] = set()
        # The first versions after those that are missing, until it is known that they were truncated.
        self._gaps: dict[str, int] = {}

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines, from the header to the end."""
        self._head = await self._call(self._backend.head)
        yield self._line(Header(FORMAT, self._head, self._backend.name, datetime.now(UTC)))
        async for line in self._events():
            yield line
        for part in (self._streams, self._snapshots, self._checkpoints, self._consumers):
            async for record in part():
                yield self._line(record)
        counts = self._counts
        yield encode_line(
            End(
                events=counts[Event],
                streams=counts[Stream],
                snapshots=counts[Snapshot],
                checkpoints=counts[Checkpoint],
                consumers=counts[ConsumerEntry],
                sha256=self._digest.hexdigest(),
            )
        )

    def _line(self, record: AnyRecord) -> bytes:
        line = encode_line(record)
        self._counts[type(record)] += 1
        self._digest.update(line)
        return line

    # --- The log -------------------------------------------------------------------------------------------------

    async def _events(self) -> AsyncIterator[bytes]:
        log = Log(self._backend, self._call, self._head)
        async for events in log.pages():
            size = 0
            for event in events:
                line = self._line(self._event(event))
                size += len(line)
                yield line
            if events:
                log.was_of_size(len(events), size)
                if self._progress is not None:
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

    # --- Streams and snapshots -----------------------------------------------------------------------------------

    async def _streams(self) -> AsyncIterator[AnyRecord]:
        infos = _pages(
            lambda after, limit: self._call(self._backend.list_streams, None, None, after, limit, include_deleted=True),
            lambda info: info.stream_id,
            PAGE,
        )
        async for info in infos:
            if self._gaps.pop(info.stream_id, 1) > info.first_version:
                raise _damaged(info.stream_id)
            stream = self._as_of_head(info)
            if stream.deleted:
                self._deleted.add(stream.stream_id)
            if stream.deleted or stream.first_version > 1:
                self._versions[stream.stream_id] = stream.version
                yield stream
        for stream_id in self._gaps:
            raise _damaged(stream_id)

    def _as_of_head(self, info: StreamInfo) -> Stream:
        """Return a stream as it was at the end of the log that was read, as far as that is still to be known."""
        last = self._versions.get(info.stream_id, 0)
        # It has events that are not in the log that was read: what is done to a stream later came later.
        went_on = info.version > last and info.first_version <= info.version
        version = max(last, info.first_version - 1)
        return Stream(info.stream_id, version, info.first_version, info.deleted and not went_on)

    async def _snapshots(self) -> AsyncIterator[AnyRecord]:
        snapshots = _pages(
            lambda after, limit: self._call(self._backend.list_snapshots, after, limit),
            lambda kept: kept.stream_id,
            _SNAPSHOTS,
        )
        async for kept in snapshots:
            if kept.stream_id not in self._deleted and kept.version <= self._versions.get(kept.stream_id, 0):
                data = _object(kept.data, f"the snapshot of {kept.stream_id!r}")
                yield Snapshot(kept.stream_id, kept.version, data)

    # --- Checkpoints and consumers -------------------------------------------------------------------------------

    async def _checkpoints(self) -> AsyncIterator[AnyRecord]:
        checkpoints = _pages(
            lambda after, limit: self._call(self._backend.list_checkpoints, after, limit),
            lambda kept: kept.name,
            PAGE,
        )
        async for kept in checkpoints:
            yield Checkpoint(kept.name, kept.position)

    async def _consumers(self) -> AsyncIterator[AnyRecord]:
        if Capability.CONSUMERS in self._backend.capabilities:
            # A consumer without settings has not begun. Workers stay where they are.
            async for settings in self._entries(None, SETTINGS):
                if settings.key == SETTINGS:
                    async for record in self._consumer(settings):
                        yield record

    async def _consumer(self, settings: Entry) -> AsyncIterator[AnyRecord]:
        """Yield what a consumer keeps, its settings last.

        Its workers may go on meanwhile, and it may be reset. So how far it is, is read before what it has parked and
        once more after it, and the lower position is told: what was parked above it comes again.
        """
        before = await self._progress_of(settings.name)
        parked = [_state(entry) async for entry in self._entries(settings.name, PARKED)]
        after = await self._progress_of(settings.name)
        lower = {key: min(before[key], after[key], key=lambda state: state.position) for key in before.keys() & after}
        if SETTINGS not in lower:
            return
        reached = {state.number: min(state.position, self._head) for state in lower.values()}
        for state in parked:
            if state.position <= reached.get(state.number, 0):
                yield _record(settings.name, state)
        for key in sorted(lower, key=lambda key: (key == SETTINGS, key)):
            yield _record(settings.name, lower[key])

    async def _progress_of(self, name: str) -> dict[str, ConsumerState]:
        """Return the settings and the partitions of a consumer, by their keys."""
        entries = [entry async for entry in self._entries(name, SETTINGS) if entry.key == SETTINGS]
        entries += [entry async for entry in self._entries(name, PARTITION)]
        return {entry.key: _state(entry) for entry in entries}

    def _entries(self, name: str | None, prefix: str) -> AsyncIterator[Entry]:
        return _pages(
            lambda after, limit: self._call(self._backend.list_entries, name, prefix, after, limit),
            lambda entry: (entry.name, entry.key),
            PAGE,
        )


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


def _state(entry: Entry) -> ConsumerState:
    what = f"the entry {entry.key!r} of consumer {entry.name!r}"
    try:
        return parse_entry(entry.key, _object(entry.data, what))
    except ValueError as error:
        raise StorageError(f"{what} is damaged, see what verify() says of the store: {error}") from error


def _record(name: str, state: ConsumerState) -> ConsumerEntry:
    position = state.position
    return ConsumerEntry(name, state.key_at(position), decode_json(state.data_at(position)))


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

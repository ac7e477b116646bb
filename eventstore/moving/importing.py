"""Importing an export into a store: its events with their versions and times, at the end of the log, and all the rest.

The file was checked before. Each step can be done again, so that an import that was interrupted goes on when it is run
again: what is there already, and is the same, is passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from eventstore.backend import Capability, RestoredEvent, StreamInfo
from eventstore.errors import ImportConflict, InvalidArgument, StreamDeleted, WrongExpectedVersion
from eventstore.ledger import SETTINGS, Ledger, Settings, StoreEntries
from eventstore.moving.checking import Checked, check_file, read_lines, restored_event
from eventstore.moving.entries import parse_entry
from eventstore.moving.log import log_up_to
from eventstore.moving.placing import MOST_EVENTS, Placing, deleted_here
from eventstore.moving.positions import Positions
from eventstore.moving.records import AnyRecord, Checkpoint, ConsumerEntry, Event, Header, Snapshot, Stream
from eventstore.moving.summary import Imported
from eventstore.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    from eventstore.store import EventStore

_WITHOUT_CONSUMERS: Final = (
    "checkpoints and consumers tell how far they have come by positions, and in this store other events stand among "
    "those of the export: import into an empty store, or leave checkpoints and consumers out"
)


async def import_file(
    store: EventStore,
    file: BinaryIO,
    checked: Checked | None = None,
    *,
    consumers: bool = True,
    progress: ProgressCallback | None = None,
) -> Imported:
    """Check a file, unless it was checked, and store what it has; see `EventStore.import_from`."""
    store._require(Capability.RESTORE, "import_from()")
    store._writer()
    if not hasattr(file, "seekable") or not file.seekable() or not isinstance(file.read(0), bytes):
        raise InvalidArgument("file", file, "it is read twice: give a file that is open in binary mode and can seek")
    if checked is None:
        checked = await check_file(file, store._limits.max_event_size, progress)
    return await Importer(store, checked, consumers=consumers, progress=progress).run(file)


class Importer:
    """One import of a file that was checked."""

    def __init__(
        self,
        store: EventStore,
        checked: Checked,
        *,
        consumers: bool,
        progress: ProgressCallback | None,
    ) -> None:
        self._store = store
        self._backend = store._backend
        self._checked = checked
        self._max_event_size = store._limits.max_event_size
        self._consumers = consumers
        self._progress = progress
        self._positions = Positions(checked.positions)
        self._placing = Placing(store, self._positions)
        self._has_begun = False
        self._is_alone = False
        self._line = 0
        self._kept_names: dict[str, bool] = {}
        self._counts = dict.fromkeys(Imported.__struct_fields__[2:], 0)

    async def run(self, file: BinaryIO) -> Imported:
        """Store all of it. Raises `ImportConflict`."""
        async for line, record in read_lines(file, self._max_event_size):
            self._line = line
            if isinstance(record, Event):
                await self._take(record)
                continue
            if not isinstance(record, Header):
                # The events end here, and then the streams are as they were exported.
                await self._begin(None)
                await self._flush()
            if isinstance(record, (Checkpoint, ConsumerEntry)):
                await self._check_log_is_alone()
            await self._store_record(record)
        return Imported(self._placing.stored, self._placing.already_stored, **self._counts)

    async def _store_record(self, record: AnyRecord) -> None:
        match record:
            case Stream():
                await self._finish_stream(record)
            case Snapshot():
                await self._save_snapshot(record)
            case Checkpoint() if self._consumers:
                await self._save_checkpoint(record)
            case ConsumerEntry() if self._consumers:
                await self._save_entry(record)
            case _:
                pass

    # --- Events --------------------------------------------------------------------------------------------------

    async def _begin(self, first: RestoredEvent | None) -> None:
        """Look at what is there, before the first event is stored, and let truncated streams begin where they begin."""
        if self._has_begun:
            return
        self._has_begun = True
        if first is not None:
            await self._check_log_begins_with(first)
        for line, stream in enumerate(self._checked.streams.values(), self._checked.first_stream):
            gone = stream.first_version - 1
            if gone and await self._store._repeatable(self._backend.restore_stream, stream.stream_id, gone) is not None:
                await self._check_stream(line, stream)

    async def _check_stream(self, line: int, stream: Stream) -> None:
        """Refuse a truncated stream that is there and may be another one, or that lacks what is truncated."""
        info = await self._store.stream_info(stream.stream_id)
        if info is None or (info.deleted and stream.deleted):
            return
        if info.deleted:
            raise deleted_here(line, stream.stream_id)
        if info.version < stream.first_version - 1:
            raise ImportConflict(
                line,
                f"stream {stream.stream_id!r} is at version {info.version} here, and the export has none of its events "
                f"up to {stream.first_version - 1}: they were truncated",
                stream_id=stream.stream_id,
            )
        if stream.is_empty and info.first_version <= info.version:
            raise ImportConflict(
                line,
                f"stream {stream.stream_id!r} has events here, and the export has none left of it that would tell "
                "whether it is the same stream: truncate or delete it here first, if it is",
                stream_id=stream.stream_id,
            )

    async def _take(self, event: Event) -> None:
        if self._is_gone(event.stream_id, event.version):
            self._counts["left_out"] += 1
            return
        restored = restored_event(self._line, event, self._max_event_size)
        await self._begin(restored)
        if self._placing.add(self._line, event.global_position, restored):
            await self._flush()

    def _is_gone(self, stream_id: str, version: int) -> bool:
        stream = self._checked.streams.get(stream_id)
        return stream is not None and version < stream.first_version

    async def _flush(self) -> None:
        """Store the events in hand."""
        there = await self._placing.flush()
        if there is not None and self._progress is not None:
            self._progress(Progress("import", there, self._checked.head))

    # --- Positions mean the same only where nothing else stands among the events -------------------------------------

    async def _check_log_begins_with(self, event: RestoredEvent) -> None:
        if not self._consumers or not any(self._checked.positions):
            return
        async for first in self._store.read_all(limit=1):
            if first.event_id != event.event.event_id and not self._is_gone(first.stream_id, first.version):
                raise self._conflict(_WITHOUT_CONSUMERS, None)

    async def _check_log_is_alone(self) -> None:
        if self._is_alone or not self._consumers or not any(self._checked.positions):
            return
        self._is_alone = True
        expected = self._placing.stored + self._placing.already_stored
        found = 0
        call, last = self._store._repeatable, self._positions.last
        async for events in log_up_to(self._backend, call, last, MOST_EVENTS):
            found += len(events)
        if found != expected:
            raise self._conflict(_WITHOUT_CONSUMERS, None)

    # --- All the rest --------------------------------------------------------------------------------------------

    async def _finish_stream(self, stream: Stream) -> None:
        """Truncate or delete a stream, as the one exported was."""
        info = await self._store.stream_info(stream.stream_id)
        if info is not None and not info.deleted and info.version != stream.version:
            raise self._conflict(
                f"stream {stream.stream_id!r} is at version {info.version} here and at {stream.version} in the export",
                stream.stream_id,
            )
        if stream.deleted:
            await self._delete(stream, info)
        elif info is not None and info.first_version < stream.first_version:
            with self._nobody_else_at(stream.stream_id):
                await self._store.truncate_stream(stream.stream_id, stream.first_version)
        self._counts["streams"] += 1

    async def _delete(self, stream: Stream, info: StreamInfo | None) -> None:
        has_events = info is not None and info.first_version <= info.version
        if info is None or not info.deleted or (stream.is_empty and has_events):
            with self._nobody_else_at(stream.stream_id):
                await self._store.delete_stream(
                    stream.stream_id, expected_version=stream.version, erase=stream.is_empty
                )

    async def _save_snapshot(self, snapshot: Snapshot) -> None:
        with self._nobody_else_at(snapshot.stream_id):
            await self._store.save_snapshot(snapshot.stream_id, snapshot.version, snapshot.data)
        self._counts["snapshots"] += 1

    @contextmanager
    def _nobody_else_at(self, stream_id: str) -> Iterator[None]:
        try:
            yield
        except (StreamDeleted, WrongExpectedVersion) as error:
            raise self._conflict(f"others change stream {stream_id!r} meanwhile", stream_id) from error

    async def _save_checkpoint(self, checkpoint: Checkpoint) -> None:
        position = self._positions.here(checkpoint.position)
        found = await self._store._once(self._backend.save_checkpoint, checkpoint.name, position, 0)
        self._counts["checkpoints" if found == 0 else "kept"] += 1

    async def _save_entry(self, entry: ConsumerEntry) -> None:
        """Save an entry of a consumer; its settings come last, and make a consumer of what is there."""
        ledger = Ledger(entry.name, StoreEntries(self._store))
        if entry.name not in self._kept_names:
            is_there = await ledger.find(SETTINGS, Settings) is not None
            self._kept_names[entry.name] = is_there
            self._counts["kept" if is_there else "consumers"] += 1
        if self._kept_names[entry.name]:
            return
        state = parse_entry(entry.key, entry.data)
        position = self._positions.here(state.position)
        if state.is_parked and not self._positions.is_of_event(state.position):
            self._counts["lost_parked"] += 1
            return
        key, data = state.key_at(position), state.data_at(position)
        access = StoreEntries(self._store)
        found = await access.save_entry(entry.name, key, data, 0)
        if found and await access.save_entry(entry.name, key, data, found) != found:
            raise self._conflict(f"consumer {entry.name!r} is at work here: stop it, and import again", None)

    # --- Errors --------------------------------------------------------------------------------------------------

    def _conflict(self, reason: str, stream_id: str | None) -> ImportConflict:
        return ImportConflict(self._line, reason, stream_id=stream_id)

"""Importing an export into a store: its events with their versions and times, at the end of the log, and all the rest.

The file was checked before. Each step can be done again, so that an import that was interrupted goes on when it is run
again: what is there already, and is the same, is passed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO

from eventstore.backend import Capability, RestoredEvent
from eventstore.errors import EventStoreError, ImportConflict, InvalidArgument, InvalidExport
from eventstore.moving.checking import Checked, check_file, restored_event
from eventstore.moving.placing import Placing
from eventstore.moving.positions import Positions
from eventstore.moving.readers import OTHER_EVENTS, Readers
from eventstore.moving.reading import read_lines
from eventstore.moving.records import AnyRecord, Checkpoint, ConsumerEntry, End, Event, Header, Snapshot, Stream
from eventstore.moving.streams import Streams
from eventstore.moving.summary import Imported
from eventstore.progress import Progress, ProgressCallback
from eventstore.wording import counted

if TYPE_CHECKING:
    from eventstore.store import EventStore


async def import_file(
    store: EventStore,
    file: BinaryIO,
    checked: Checked | None = None,
    *,
    consumers: bool = True,
    update: bool = False,
    progress: ProgressCallback | None = None,
) -> Imported:
    """Check a file, unless it was checked, and store what it has; see `EventStore.import_from`."""
    store._require(Capability.RESTORE, "import_from()")
    store._writer()
    if not hasattr(file, "seekable") or not file.seekable() or not isinstance(file.read(0), bytes):
        raise InvalidArgument("file", file, "it is read twice: give a file that is open in binary mode and can seek")
    if checked is None:
        checked = await check_file(file, store._limits.max_event_size, progress)
    importer = Importer(store, checked, consumers=consumers, update=update, progress=progress)
    try:
        return await importer.run(file)
    except EventStoreError as error:
        if importer.events:
            error.add_note(f"{counted(importer.events, 'event')} of the export are in the store by now, and stay")
        raise


class Importer:
    """One import of a file that was checked."""

    def __init__(
        self,
        store: EventStore,
        checked: Checked,
        *,
        consumers: bool,
        update: bool,
        progress: ProgressCallback | None,
    ) -> None:
        self._store = store
        self._checked = checked
        self._max_event_size = store._limits.max_event_size
        self._progress = progress
        self._positions = Positions(checked.positions if consumers else ())
        self._placing = Placing(store, checked, self._positions)
        self._streams = Streams(store, checked.streams, update=update)
        self._readers = Readers(store, self._positions, update=update) if consumers else None
        self._left_out = 0
        self._has_begun = False

    @property
    def events(self) -> int:
        """How many events of the export are in the store, as far as they were looked at."""
        return self._placing.stored + self._placing.already_stored

    async def run(self, file: BinaryIO) -> Imported:
        """Store all of it. Raises `ImportConflict`."""
        digest, last, is_whole = sha256(), 1, False
        async for line, record, text in read_lines(file, self._max_event_size):
            last, is_whole = line, isinstance(record, End)
            if is_whole:
                break
            digest.update(text)
            if isinstance(record, Event):
                await self._take(line, record)
            elif not isinstance(record, Header):
                # The events end here.
                await self._begin(line, None)
                await self._flush()
                await self._store_record(line, record)
        await self._begin(last, None)
        await self._flush()
        if not is_whole or digest.digest() != self._checked.digest:
            raise InvalidExport(last, "the file was changed while it was imported; import it again")
        return Imported(
            events=self._placing.stored,
            already_stored=self._placing.already_stored,
            left_out=self._left_out,
            streams=self._streams.changed,
            snapshots=self._streams.snapshots,
            checkpoints=self._readers.checkpoints if self._readers else 0,
            consumers=self._readers.consumers if self._readers else 0,
            kept=self._readers.kept if self._readers else 0,
            lost_parked=self._readers.lost_parked if self._readers else 0,
        )

    async def _store_record(self, line: int, record: AnyRecord) -> None:
        match record:
            case Stream():
                await self._streams.finish(line, record)
            case Snapshot():
                await self._streams.save_snapshot(line, record)
            case Checkpoint() if self._readers is not None:
                # By now the streams are as they were exported.
                await self._readers.check_log_is_alone(line, self.events)
                await self._readers.save_checkpoint(line, record)
            case ConsumerEntry() if self._readers is not None:
                await self._readers.check_log_is_alone(line, self.events)
                await self._readers.save_entry(line, record)
            case _:
                pass

    async def _take(self, line: int, event: Event) -> None:
        if self._streams.is_gone(event.stream_id, event.version):
            self._left_out += 1
            return
        restored = restored_event(line, event, self._max_event_size)
        await self._begin(line, restored)
        await self._streams.begin(line, event.stream_id)
        if self._placing.add(line, event.global_position, restored):
            await self._flush()

    async def _begin(self, line: int, first: RestoredEvent | None) -> None:
        """Look at what is there, before the first event is stored."""
        if self._has_begun:
            return
        self._has_begun = True
        if first is not None and self._positions.are_wanted:
            await self._check_log_begins_with(line, first)
        await self._streams.check_all(self._checked.first_stream)

    async def _check_log_begins_with(self, line: int, event: RestoredEvent) -> None:
        async for first in self._store.read_all(limit=1):
            is_same = first.event_id == event.event.event_id
            if not is_same and not self._streams.is_gone(first.stream_id, first.version):
                raise ImportConflict(line, OTHER_EVENTS)

    async def _flush(self) -> None:
        """Store the events in hand."""
        there = await self._placing.flush()
        if there is not None and self._progress is not None:
            self._progress(Progress("import", there, self._checked.head))

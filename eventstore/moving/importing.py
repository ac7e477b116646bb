"""Importing an export into a store: its events with their versions and times, at the end of the log, and all the rest.

The file was checked before. Each step can be done again, so that an import that was interrupted goes on when it is run
again: what is there already, and is the same, is passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple
from uuid import UUID

from eventstore.backend import Capability, Conflict, Direction, RestoredEvent, StreamInfo
from eventstore.errors import ImportConflict, InvalidArgument, StreamDeleted, WrongExpectedVersion
from eventstore.events import RecordedEvent, canonical_json, decode_json
from eventstore.ledger import SETTINGS, Ledger, Settings, StoreEntries
from eventstore.moving.checking import Checked, check_file, read_lines, restored_event
from eventstore.moving.entries import parse_entry
from eventstore.moving.log import log_up_to
from eventstore.moving.positions import Positions
from eventstore.moving.records import AnyRecord, Checkpoint, ConsumerEntry, Event, Header, Snapshot, Stream
from eventstore.moving.summary import Imported
from eventstore.progress import Progress, ProgressCallback
from eventstore.versions import ANY

if TYPE_CHECKING:
    from eventstore.store import EventStore

_MOST_EVENTS: Final = 1_000
_MOST_BYTES: Final = 4 * 2**20
"""So much is stored at a time, in one commit."""

_TRIES: Final = 5
"""How often an event is tried that nothing seems to stand against: others may have been at work."""

_WITHOUT_CONSUMERS: Final = (
    "checkpoints and consumers tell how far they have come by positions, and in this store other events stand among "
    "those of the export: import into an empty store, or leave checkpoints and consumers out"
)


class _Waiting(NamedTuple):
    """An event to be stored, its line, and its position in the store it comes from."""

    line: int
    there: int
    event: RestoredEvent


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
    if not file.seekable():
        raise InvalidArgument("file", file, "it is read twice: give one that can seek, a file on a disk say")
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
        self._has_begun = False
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._line = 0
        self._kept_names: dict[str, bool] = {}
        self._counts = dict.fromkeys(Imported.__struct_fields__, 0)

    async def run(self, file: BinaryIO) -> Imported:
        """Store all of it. Raises `ImportConflict`."""
        await self._begin_streams()
        are_events_stored = False
        async for line, record in read_lines(file, self._max_event_size):
            self._line = line
            if isinstance(record, Event):
                await self._take(record)
                continue
            if not isinstance(record, Header) and not are_events_stored:
                await self._flush()
                await self._check_log_is_alone()
                are_events_stored = True
            await self._store_record(record)
        return Imported(**self._counts)

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

    async def _begin_streams(self) -> None:
        """Let truncated streams begin where they begin."""
        for stream_id, first_version in self._checked.kept_from.items():
            state = await self._store._repeatable(self._backend.restore_stream, stream_id, first_version - 1)
            if state is None:
                continue
            if state.deleted and stream_id not in self._checked.deleted:
                raise self._deleted(stream_id)
            if not state.deleted and state.version < first_version - 1:
                reason = f"it is at version {state.version} here, and its events up to {first_version - 1} are gone"
                raise self._conflict(f"stream {stream_id!r}: {reason}", stream_id)

    async def _take(self, event: Event) -> None:
        if event.version < self._checked.kept_from.get(event.stream_id, 1):
            self._counts["left_out"] += 1
            return
        restored = restored_event(self._line, event, self._max_event_size)
        if not self._has_begun:
            await self._check_log_begins_with(restored)
        self._has_begun = True
        self._waiting.append(_Waiting(self._line, event.global_position, restored))
        self._bytes += len(restored.event.data) + len(restored.event.metadata)
        if len(self._waiting) == _MOST_EVENTS or self._bytes >= _MOST_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        """Store the events in hand."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        placed = await self._place(waiting) if waiting else {}
        for line, there, event in waiting:
            here = placed[event.event.event_id]
            if here <= self._positions.last:
                self._line = line
                raise self._conflict("its events stand in another order in this store", event.stream_id)
            self._positions.add(there, here)
        if waiting and self._progress is not None:
            self._progress(Progress("import", waiting[-1].there, self._checked.head))

    async def _place(self, waiting: list[_Waiting]) -> dict[UUID, int]:
        """Store events, but for those that are stored; return the positions of all of them, by their ids."""
        placed: dict[UUID, int] = {}
        tries = 0
        while waiting:
            events = [it.event for it in waiting]
            outcome = await self._store._repeatable(self._backend.restore, events)
            if not isinstance(outcome, Conflict):
                self._counts["events"] += len(events)
                placed.update((event.event.event_id, here) for event, here in zip(events, outcome, strict=True))
                break
            if not outcome.stored:
                tries += 1
                await self._explain(waiting, outcome, tries)
            stored = {event.event_id: event for event in outcome.stored}
            self._check_stored(waiting, stored)
            placed.update((event_id, event.global_position) for event_id, event in stored.items())
            waiting = [it for it in waiting if it.event.event.event_id not in stored]
            self._counts["already_stored"] += len(stored)
        return placed

    def _check_stored(self, waiting: list[_Waiting], stored: dict[UUID, RecordedEvent]) -> None:
        for line, _, event in waiting:
            found = stored.get(event.event.event_id)
            if found is not None and not _is_same(event, found):
                self._line = line
                raise self._conflict(
                    f"event {found.event_id} is in this store already, as version {found.version} of stream "
                    f"{found.stream_id!r}, and not the same",
                    event.stream_id,
                )

    async def _explain(self, waiting: list[_Waiting], conflict: Conflict, tries: int) -> None:
        """Raise why nothing was stored, unless the reason may have gone meanwhile."""
        firsts: dict[str, _Waiting] = {}
        for it in waiting:
            firsts.setdefault(it.event.stream_id, it)
        for state, (line, _, event) in zip(conflict.streams, firsts.values(), strict=True):
            self._line = line
            if state.deleted:
                raise self._deleted(event.stream_id)
            if state.version != event.version - 1:
                raise self._conflict(
                    f"stream {event.stream_id!r} is at version {state.version} here, with other events; the export "
                    f"has version {event.version} of it",
                    event.stream_id,
                )
            if tries == _TRIES:
                last = await self._store._stream_page(event.stream_id, None, 1, Direction.BACKWARD)
                if last and last[0].created_at > event.created_at:
                    raise self._conflict(
                        f"stream {event.stream_id!r} has an event here of a later time than version {event.version}",
                        event.stream_id,
                    )
        if tries == _TRIES:
            raise self._conflict("others write to the same streams all the time", None)

    # --- Positions mean the same only where nothing else stands among the events -------------------------------------

    async def _check_log_begins_with(self, event: RestoredEvent) -> None:
        if not self._consumers or not any(self._checked.positions):
            return
        async for first in self._store.read_all(limit=1):
            if first.event_id != event.event.event_id:
                raise self._conflict(_WITHOUT_CONSUMERS, None)

    async def _check_log_is_alone(self) -> None:
        if not self._consumers or not any(self._checked.positions):
            return
        expected = self._counts["events"] + self._counts["already_stored"]
        found = 0
        call, last = self._store._repeatable, self._positions.last
        async for events in log_up_to(self._backend, call, last, _MOST_EVENTS):
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
            await self._store.truncate_stream(stream.stream_id, stream.first_version)
        self._counts["streams"] += 1

    async def _delete(self, stream: Stream, info: StreamInfo | None) -> None:
        is_erased = stream.first_version > stream.version
        has_events = info is not None and info.first_version <= info.version
        if info is None or not info.deleted or (is_erased and has_events):
            await self._store.delete_stream(stream.stream_id, expected_version=ANY, erase=is_erased)

    async def _save_snapshot(self, snapshot: Snapshot) -> None:
        try:
            await self._store.save_snapshot(snapshot.stream_id, snapshot.version, snapshot.data)
        except (StreamDeleted, WrongExpectedVersion) as error:
            raise self._conflict(str(error), snapshot.stream_id) from error
        self._counts["snapshots"] += 1

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

    def _deleted(self, stream_id: str) -> ImportConflict:
        return self._conflict(f"stream {stream_id!r} is deleted in this store, and its id stays taken", stream_id)

    def _conflict(self, reason: str, stream_id: str | None) -> ImportConflict:
        return ImportConflict(max(1, self._line), reason, stream_id=stream_id)


def _is_same(event: RestoredEvent, stored: RecordedEvent) -> bool:
    return (
        event.stream_id == stored.stream_id
        and event.version == stored.version
        and event.created_at == stored.created_at
        and event.event.event_type == stored.event_type
        and canonical_json(decode_json(event.event.data)) == canonical_json(stored.data)
        and canonical_json(decode_json(event.event.metadata)) == canonical_json(stored.metadata)
    )

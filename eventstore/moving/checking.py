"""The check that an export is sound, all of it, before any of it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import BinaryIO, Final, NamedTuple
from uuid import UUID

from eventstore.arguments import name_fault
from eventstore.backend import EncodedEvent, RestoredEvent
from eventstore.errors import InvalidEvent, InvalidExport
from eventstore.events import JsonObject, encode_json_object, stream_type_of
from eventstore.ledger import Settings
from eventstore.moving.entries import parse_entry
from eventstore.moving.reading import Line, read_lines
from eventstore.moving.records import (
    FORMAT,
    RECORDS,
    AnyRecord,
    Checkpoint,
    ConsumerEntry,
    End,
    Event,
    Header,
    Snapshot,
    Stream,
)
from eventstore.progress import Progress, ProgressCallback
from eventstore.verifying.tallies import EventIds

_LINES_BETWEEN: Final = 1_000
"""So many lines are checked between two calls that tell the progress."""


@dataclass(slots=True)
class Checked:
    """What the check of a file found that those who import it need to know."""

    head: int = 0
    events: int = 0
    digest: bytes = b""
    """The SHA-256 of all lines but the last, so that the second reading can be held against the first."""

    streams: dict[str, Stream] = field(default_factory=dict)
    """Those that were truncated or deleted."""

    first_stream: int = 0
    """The line of the first of them; the others follow."""

    positions: set[int] = field(default_factory=set)
    """Those of checkpoints and consumers."""


class _State(NamedTuple):
    version: int
    created_at: datetime


class _Gap(NamedTuple):
    version: int
    line: int


async def check_file(file: BinaryIO, max_event_size: int, progress: ProgressCallback | None = None) -> Checked:
    """Check all of a file.

    Of a stream its id, version and time are kept in memory, of an event eight bytes. Raises `InvalidExport`.
    """
    check = _Check(max_event_size)
    async for line in read_lines(file, max_event_size):
        check.add(line)
        if progress is not None and line.number % _LINES_BETWEEN == 0:
            progress(Progress("check", check.position, check.found.head))
    check.require_end()
    repeated = check.ids.repeated()
    if repeated:
        await _check_ids(file, max_event_size, repeated)
    return check.found


async def _check_ids(file: BinaryIO, max_event_size: int, suspects: set[int]) -> None:
    """Tell ids that occur twice from hashes that do."""
    seen: set[UUID] = set()
    async for number, record, _ in read_lines(file, max_event_size):
        if isinstance(record, Event) and hash(record.event_id.int) in suspects:
            if record.event_id in seen:
                raise InvalidExport(number, f"the event id {record.event_id} stands in an earlier line, too")
            seen.add(record.event_id)


class _Check:
    """The rules that records follow, one after another."""

    def __init__(self, max_event_size: int) -> None:
        self.found = Checked()
        self.ids = EventIds()
        self.position = 0
        self._max_event_size = max_event_size
        self._line = 0
        self._digest = sha256()
        self._kind: type[AnyRecord] | None = None
        self._counts: dict[type[AnyRecord], int] = dict.fromkeys(RECORDS, 0)
        self._streams: dict[str, _State] = {}
        self._gaps: dict[str, _Gap] = {}
        self._names: set[object] = set()
        # Of consumers, how many partitions there are by their settings, which come last, and by the rest.
        self._partitions: dict[str, int] = {}
        self._needed: dict[str, tuple[int, int]] = {}

    def add(self, line: Line) -> None:
        """Check the next record."""
        self._line, record, text = line
        self._follow(type(record))
        match record:
            case Header():
                self._header(record)
            case Event():
                self._event(record)
            case Stream():
                self._stream(record)
            case Snapshot():
                self._snapshot(record)
            case Checkpoint():
                self._check_name("name", record.name)
                self._once("the checkpoint", record.name)
                self.found.positions.add(record.position)
            case ConsumerEntry():
                self._consumer(record)
            case End():
                self._end(record)
        self._counts[type(record)] += 1
        if isinstance(record, End):
            self.found.digest = self._digest.digest()
        self._digest.update(text)

    def require_end(self) -> None:
        """Refuse a file without an end."""
        if self._kind is not End:
            self._line += 1
            raise self._wrong("the file was cut short: its last line is no end")

    def _follow(self, kind: type[AnyRecord]) -> None:
        """Check that a kind of record may stand here."""
        before = -1 if self._kind is None else RECORDS.index(self._kind)
        number = RECORDS.index(kind)
        if before == -1 and kind is not Header:
            raise self._wrong("the first line of an export is its header")
        if number < before or (number == before and kind in (Header, End)):
            assert self._kind is not None
            raise self._wrong(f"{_name(kind)} cannot stand after {_name(self._kind)}")
        if before <= RECORDS.index(Stream) < number:
            self._require_no_gap()
        self._kind = kind

    # --- Each kind -----------------------------------------------------------------------------------------------

    def _header(self, header: Header) -> None:
        if header.format > FORMAT:
            raise self._wrong(f"its format is {header.format}, known is up to {FORMAT}: upgrade eventstore-kit")
        self.found.head = header.head

    def _event(self, event: Event) -> None:
        restored = restored_event(self._line, event, self._max_event_size)
        if not self.position < event.global_position <= self.found.head:
            raise self._wrong(
                f"position {event.global_position} must be above the one before, {self.position}, and at most the "
                f"head in the header, {self.found.head}"
            )
        before = self._streams.get(event.stream_id)
        version = 0 if before is None else before.version
        if event.version <= version:
            raise self._wrong(f"version {event.version} of stream {event.stream_id!a} comes after version {version}")
        if event.version > version + 1:
            self._gaps[event.stream_id] = _Gap(event.version, self._line)
        if before is not None and restored.created_at < before.created_at:
            raise self._wrong(f"its time is before that of the event before it in stream {event.stream_id!a}")
        self._streams[event.stream_id] = _State(event.version, restored.created_at)
        self.position = event.global_position
        self.ids.add(event.event_id)
        self.found.events += 1

    def _stream(self, stream: Stream) -> None:
        self._check_name("stream_id", stream.stream_id)
        if stream.stream_id in self.found.streams:
            raise self._wrong(f"stream {stream.stream_id!a} stands in an earlier line, too")
        last = self._streams.get(stream.stream_id, _State(0, datetime.min.replace(tzinfo=UTC)))
        if stream.version != max(last.version, stream.first_version - 1):
            raise self._wrong(
                f"version {stream.version} of stream {stream.stream_id!a} does not agree with its last event, "
                f"{last.version}, and its first version, {stream.first_version}"
            )
        if not stream.deleted and stream.first_version == 1:
            raise self._wrong(f"stream {stream.stream_id!a} is neither truncated nor deleted")
        self._streams[stream.stream_id] = _State(stream.version, last.created_at)
        self.found.first_stream = self.found.first_stream or self._line
        self.found.streams[stream.stream_id] = stream
        if self._gaps.get(stream.stream_id, _Gap(1, 0)).version <= stream.first_version:
            self._gaps.pop(stream.stream_id, None)

    def _snapshot(self, snapshot: Snapshot) -> None:
        self._check_name("stream_id", snapshot.stream_id)
        self._once("the snapshot of stream", snapshot.stream_id)
        encoded_object(self._line, "$.data", snapshot.data, self._max_event_size)
        state = self._streams.get(snapshot.stream_id)
        stream = self.found.streams.get(snapshot.stream_id)
        if stream is not None and stream.deleted:
            raise self._wrong(f"stream {snapshot.stream_id!a} is deleted and has no snapshot")
        if state is None or state.version < snapshot.version:
            raise self._wrong(f"stream {snapshot.stream_id!a} does not come to version {snapshot.version}")

    def _consumer(self, entry: ConsumerEntry) -> None:
        self._check_name("name", entry.name)
        self._once(f"the entry {entry.key!a} of consumer", entry.name)
        try:
            state = parse_entry(entry.key, entry.data)
        except ValueError as error:
            raise self._wrong(f"of consumer {entry.name!a}: {error}") from error
        encoded_object(self._line, "$.data", entry.data, self._max_event_size)
        self.found.positions.add(state.position)
        if isinstance(state.kept, Settings):
            self._partitions[entry.name] = state.kept.partitions
        elif state.number >= self._needed.get(entry.name, (0, 0))[0]:
            self._needed[entry.name] = state.number + 1, self._line

    def _end(self, end: End) -> None:
        for name, (number, line) in self._needed.items():
            if number > self._partitions.get(name, 0):
                raise InvalidExport(line, f"the settings of consumer {name!a} know of no partition {number - 1}")
        kinds: tuple[type[AnyRecord], ...] = (Event, Stream, Snapshot, Checkpoint, ConsumerEntry)
        found = tuple(self._counts[kind] for kind in kinds)
        if found != (end.events, end.streams, end.snapshots, end.checkpoints, end.consumers):
            counts = ", ".join(f"{count} {_name(kind)} lines" for count, kind in zip(found, kinds, strict=True))
            raise self._wrong(f"it tells of other numbers than there are, which is {counts}: lines were lost or added")
        if end.sha256 not in (None, self._digest.hexdigest()):
            raise self._wrong(
                "its sha256 is not that of the lines above: the file was damaged or changed; who changed it on purpose "
                "takes the field out"
            )

    # --- Helpers -------------------------------------------------------------------------------------------------

    def _require_no_gap(self) -> None:
        for stream_id, gap in self._gaps.items():
            raise InvalidExport(
                gap.line, f"stream {stream_id!a} has no version {gap.version - 1}, and was not truncated there"
            )

    def _check_name(self, what: str, name: str) -> None:
        check_name(self._line, what, name)

    def _once(self, what: str, name: str) -> None:
        if (self._kind, what, name) in self._names:
            raise self._wrong(f"{what} {name!a} stands in an earlier line, too")
        self._names.add((self._kind, what, name))

    def _wrong(self, reason: str) -> InvalidExport:
        return InvalidExport(self._line, reason)


def restored_event(line: int, event: Event, max_event_size: int) -> RestoredEvent:
    """Return an event of a file as it is to be stored. Raises `InvalidExport`."""
    check_name(line, "stream_id", event.stream_id)
    check_name(line, "event_type", event.event_type)
    try:
        created_at = event.created_at.astimezone(UTC)
    except OverflowError as error:
        raise InvalidExport(line, f"$.created_at: {event.created_at.isoformat()} is out of range") from error
    data = encoded_object(line, "$.data", event.data, max_event_size)
    metadata = encoded_object(line, "$.metadata", event.metadata, max_event_size)
    return RestoredEvent(
        event.stream_id,
        stream_type_of(event.stream_id),
        event.version,
        EncodedEvent(event.event_id, event.event_type, data, metadata),
        created_at,
    )


def encoded_object(line: int, path: str, value: JsonObject, max_event_size: int) -> bytes:
    """Return the JSON text of a payload. Raises `InvalidExport`."""
    try:
        text, _ = encode_json_object(value, max_event_size, path)
    except InvalidEvent as error:
        raise InvalidExport(line, f"{error.path}: {error.reason}") from error
    return text


def check_name(line: int, what: str, name: str) -> None:
    """Refuse with `InvalidExport` a name that is not sound."""
    fault = name_fault(name)
    if fault is not None:
        raise InvalidExport(line, f"$.{what}: {fault}")


def _name(kind: type[AnyRecord]) -> str:
    return str(kind.__struct_config__.tag)

"""The writes. LMDB has one writer at a time, so what a write has read still holds when it stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import lmdb
import msgspec

from eventstore.backend import (
    Appended,
    AppendedStream,
    Conflict,
    EncodedEvent,
    EncodedSnapshot,
    Outcome,
    RestoredEvent,
    StreamAppend,
    StreamState,
    Transaction,
)
from eventstore.batches import first_events
from eventstore.events import RecordedEvent
from eventstore.versions import ExpectedVersion, is_met
from eventstore_lmdb.keys import entry_key, name_key, number_key, split_id, version_key
from eventstore_lmdb.reading import entry_version, event_at, find_stream, load_checkpoint, load_snapshot, position_of
from eventstore_lmdb.records import (
    CheckpointRecord,
    EntryRecord,
    EventRecord,
    SnapshotRecord,
    StreamRecord,
    decode_event,
    encode,
    microseconds_of,
    now,
    time_of,
)
from eventstore_lmdb.tables import Tables, keep_last_position, last_position


def append(txn: lmdb.Transaction[bytes], tables: Tables, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
    """Store each transaction, or say why not."""
    return [_append_one(txn, tables, transaction) for transaction in transactions]


def truncate_stream(txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str, before_version: int) -> int | None:
    """Remove the events below a version; return how many, or None if the stream is deleted."""
    stream = find_stream(txn, tables, stream_id)
    if stream is None:
        return 0
    if stream.deleted:
        return None
    end = min(before_version, stream.version + 1)
    _remove_events(txn, tables, stream, end)
    if end <= stream.first_version:
        return 0
    _keep_stream(txn, tables, msgspec.structs.replace(stream, first_version=end))
    return end - stream.first_version


def delete_stream(
    txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str, expected_version: ExpectedVersion, *, erase: bool
) -> StreamState | None:
    """Put a tombstone on the stream; return None, or the state that kept it from being done."""
    stream = find_stream(txn, tables, stream_id) or StreamRecord(stream_id)
    has_events = stream.first_version <= stream.version
    if not is_met(expected_version, stream.version) or (stream.deleted and not (erase and has_events)):
        return stream.state
    first_version = stream.first_version
    if erase:
        _remove_events(txn, tables, stream, stream.version + 1)
        first_version = stream.version + 1
    _keep_stream(txn, tables, msgspec.structs.replace(stream, first_version=first_version, deleted=True))
    delete_snapshots(txn, tables, stream_id)
    return None


def save_snapshot(txn: lmdb.Transaction[bytes], tables: Tables, snapshot: EncodedSnapshot) -> StreamState | None:
    """Keep the snapshot unless a later one is there; return None, or the state that kept it from being done."""
    stream = find_stream(txn, tables, snapshot.stream_id) or StreamRecord(snapshot.stream_id)
    if stream.deleted or stream.version < snapshot.version:
        return stream.state
    kept = load_snapshot(txn, tables, snapshot.stream_id)
    if kept is None or kept.version <= snapshot.version:
        record = SnapshotRecord(snapshot.stream_id, snapshot.version, snapshot.data, now())
        txn.put(name_key(snapshot.stream_id), encode(record), db=tables.snapshots)
    return None


def delete_snapshots(txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str) -> None:
    """Forget the stream's snapshot."""
    txn.delete(name_key(stream_id), db=tables.snapshots)


def save_checkpoint(txn: lmdb.Transaction[bytes], tables: Tables, name: str, position: int, expected: int) -> int:
    """Move the checkpoint if it is where it was expected; return where it was."""
    found = load_checkpoint(txn, tables, name)
    if found == expected:
        txn.put(name_key(name), encode(CheckpointRecord(name, position)), db=tables.checkpoints)
    return found


def save_entry(
    txn: lmdb.Transaction[bytes], tables: Tables, name: str, key: str, data: bytes | None, expected: int
) -> int:
    """Keep an entry, or remove it, if its version is the one expected; return the version that was found."""
    found = entry_version(txn, tables, name, key)
    if found == expected and data is None:
        txn.delete(entry_key(name, key), db=tables.entries)
    elif found == expected and data is not None:
        txn.put(entry_key(name, key), encode(EntryRecord(name, key, found + 1, data)), db=tables.entries)
    return found


def restore(
    txn: lmdb.Transaction[bytes], tables: Tables, events: Sequence[RestoredEvent]
) -> tuple[int, ...] | Conflict:
    """Store events with their versions and times, and return their positions; or say why not."""
    firsts = first_events(events)
    streams = {stream_id: find_stream(txn, tables, stream_id) or StreamRecord(stream_id) for stream_id in firsts}
    stored = _stored_events(txn, tables, (event.event for event in events))
    if stored or not all(map(_follows, firsts.values(), streams.values())):
        return Conflict(tuple(stream.state for stream in streams.values()), tuple(stored))
    first_position = last_position(txn, tables) + 1
    positions = tuple(range(first_position, first_position + len(events)))
    for position, restored in zip(positions, events, strict=True):
        version, created_at = restored.version, microseconds_of(restored.created_at)
        _store_event(txn, tables, position, restored.stream_id, version, restored.event, created_at)
        streams[restored.stream_id] = msgspec.structs.replace(
            streams[restored.stream_id], version=version, created_at=created_at
        )
    keep_last_position(txn, tables, first_position + len(events) - 1)
    for stream in streams.values():
        _keep_stream(txn, tables, stream)
    return positions


def restore_stream(txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str, version: int) -> StreamState | None:
    """Let a stream without events be at a version; return None, or the state that kept it from being done."""
    stream = find_stream(txn, tables, stream_id) or StreamRecord(stream_id)
    has_events = stream.first_version <= stream.version
    if has_events or stream.deleted or stream.version > version:
        return stream.state
    _keep_stream(txn, tables, msgspec.structs.replace(stream, version=version, first_version=version + 1))
    return None


# --- Appending -------------------------------------------------------------------------------------------------------


def _append_one(txn: lmdb.Transaction[bytes], tables: Tables, transaction: Transaction) -> Outcome:
    streams = [find_stream(txn, tables, wanted.stream_id) or StreamRecord(wanted.stream_id) for wanted in transaction]
    stored = _stored_events(txn, tables, (event for wanted in transaction for event in wanted.events))
    may_be_stored = all(
        not stream.deleted and is_met(wanted.expected_version, stream.version)
        for wanted, stream in zip(transaction, streams, strict=True)
    )
    if stored or not may_be_stored:
        return Conflict(tuple(stream.state for stream in streams), tuple(stored))
    return Appended(
        tuple(
            _append_to_stream(txn, tables, wanted, stream) for wanted, stream in zip(transaction, streams, strict=True)
        )
    )


def _stored_events(txn: lmdb.Transaction[bytes], tables: Tables, events: Iterable[EncodedEvent]) -> list[RecordedEvent]:
    found = (txn.get(event.event_id.bytes, db=tables.event_ids) for event in events)
    return [event_at(txn, tables, position) for position in found if position is not None]


def _append_to_stream(
    txn: lmdb.Transaction[bytes], tables: Tables, wanted: StreamAppend, stream: StreamRecord
) -> AppendedStream:
    created_at = max(now(), stream.created_at)
    first_version = stream.version + 1
    first_position = last_position(txn, tables) + 1
    positions = range(first_position, first_position + len(wanted.events))
    for index, (position, event) in enumerate(zip(positions, wanted.events, strict=True)):
        _store_event(txn, tables, position, wanted.stream_id, first_version + index, event, created_at)
    keep_last_position(txn, tables, positions[-1])
    version = stream.version + len(positions)
    _keep_stream(txn, tables, msgspec.structs.replace(stream, version=version, created_at=created_at))
    return AppendedStream(first_version, tuple(positions), time_of(created_at))


def _store_event(
    txn: lmdb.Transaction[bytes],
    tables: Tables,
    position: int,
    stream_id: str,
    version: int,
    event: EncodedEvent,
    created_at: int,
) -> None:
    record = EventRecord(
        stream_id, version, event.event_id.bytes, event.event_type, event.data, event.metadata, created_at
    )
    place = number_key(position)
    txn.put(place, encode(record), append=True, db=tables.events)
    txn.put(version_key(name_key(stream_id), version), place, db=tables.versions)
    txn.put(record.event_id, place, db=tables.event_ids)


# --- Restoring -------------------------------------------------------------------------------------------------------


def _follows(first: RestoredEvent, stream: StreamRecord) -> bool:
    in_time = microseconds_of(first.created_at) >= stream.created_at
    return not stream.deleted and first.version == stream.version + 1 and in_time


# --- Streams ---------------------------------------------------------------------------------------------------------


def _keep_stream(txn: lmdb.Transaction[bytes], tables: Tables, stream: StreamRecord) -> None:
    is_new = txn.replace(name_key(stream.stream_id), encode(stream), db=tables.streams) is None
    if is_new:
        txn.put(*split_id(stream.stream_id.encode()), db=tables.stream_ids)


def _remove_events(txn: lmdb.Transaction[bytes], tables: Tables, stream: StreamRecord, end: int) -> None:
    """Remove the stream's events below the version `end`."""
    key = name_key(stream.stream_id)
    for version in range(stream.first_version, end):
        position = position_of(txn, tables, key, version)
        event = txn.pop(position, db=tables.events)
        if event is not None:
            txn.delete(decode_event(event).event_id, db=tables.event_ids)
        txn.delete(version_key(key, version), db=tables.versions)

"""The reads, each in one LMDB transaction: a reader sees one commit and waits for nobody."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

import lmdb

from eventstore.backend import (
    Checkpoint,
    Direction,
    EncodedSnapshot,
    Entry,
    LogPage,
    Place,
    Snapshot,
    StreamInfo,
)
from eventstore.events import RecordedEvent
from eventstore.filters import Filter, wanted_ids
from eventstore_lmdb.keys import entry_key, joined_id, name_key, number_key, number_of, split_id, version_key
from eventstore_lmdb.records import (
    StreamRecord,
    decode_checkpoint,
    decode_entry,
    decode_event,
    decode_snapshot,
    decode_stream,
    time_of,
)
from eventstore_lmdb.tables import Tables, last_position

MOST_LOOKED_AT: Final = 2_000
"""How many events one page of the log looks at: an old reader keeps LMDB from using pages again, so reads are short."""


def head(txn: lmdb.Transaction[bytes], tables: Tables) -> int:
    """Return the last position: LMDB has one writer, so positions commit in the order in which they are drawn."""
    return last_position(txn, tables)


def read_stream(
    txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str, start: int | None, limit: int, direction: Direction
) -> list[RecordedEvent] | None:
    """Return up to `limit` events of a stream, or None if it is deleted."""
    stream = find_stream(txn, tables, stream_id)
    if stream is None:
        return []
    if stream.deleted:
        return None
    first, last = stream.first_version, stream.version
    if direction is Direction.FORWARD:
        versions = range(max(first, start or first), last + 1)
    else:
        versions = range(last if start is None else min(last, start), first - 1, -1)
    key = name_key(stream_id)
    return [event_at(txn, tables, position_of(txn, tables, key, version)) for version in versions[:limit]]


def read_all(
    txn: lmdb.Transaction[bytes],
    tables: Tables,
    start: int | None,
    limit: int,
    direction: Direction,
    filter: Filter | None,
) -> LogPage:
    """Return a page of the log."""
    events: list[RecordedEvent] = []
    looked_to = start or 0
    for looked_at, (position, value) in enumerate(_log(txn, tables, start, direction)):
        if len(events) == limit or looked_at == MOST_LOOKED_AT:
            return LogPage(events, looked_to, at_end=False)
        looked_to = position
        event = decode_event(value).recorded(position)
        if filter is None or filter.matches(event):
            events.append(event)
    return LogPage(events, looked_to, at_end=True)


def stream_info(txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str) -> StreamInfo | None:
    """Return what is known of a stream, or None."""
    stream = find_stream(txn, tables, stream_id)
    return None if stream is None else stream.info


def list_streams(
    txn: lmdb.Transaction[bytes],
    tables: Tables,
    stream_type: str | None,
    prefix: str | None,
    after: str | None,
    limit: int,
    *,
    include_deleted: bool,
) -> list[StreamInfo]:
    """Return up to `limit` streams by id."""
    listed = (
        stream.info
        for stream_id in _stream_ids(txn, tables, stream_type, prefix, (after or "").encode())
        if (stream := find_stream(txn, tables, stream_id)) is not None and (include_deleted or not stream.deleted)
    )
    return list(islice(listed, limit))


def load_snapshot(txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str) -> Snapshot | None:
    """Return the stream's snapshot, or None."""
    value = txn.get(name_key(stream_id), db=tables.snapshots)
    return None if value is None else decode_snapshot(value).snapshot


def load_checkpoint(txn: lmdb.Transaction[bytes], tables: Tables, name: str) -> int:
    """Return the position of a checkpoint, 0 if there is none."""
    value = txn.get(name_key(name), db=tables.checkpoints)
    return 0 if value is None else decode_checkpoint(value).position


def list_entries(
    txn: lmdb.Transaction[bytes],
    tables: Tables,
    name: str | None,
    prefix: str,
    after: tuple[str, str] | None,
    limit: int,
) -> list[Entry]:
    """Return up to `limit` entries of one consumer, or of all."""
    first = b"" if name is None else entry_key(name, prefix)
    last_seen = b"" if after is None else entry_key(*after)
    found: list[Entry] = []
    with txn.cursor(db=tables.entries) as cursor:
        more = cursor.set_range(max(first, last_seen))
        while more and len(found) < limit and (name is None or cursor.key().startswith(first)):
            record = decode_entry(cursor.value())
            if cursor.key() != last_seen and record.key.startswith(prefix):
                found.append(Entry(record.name, record.key, record.version, record.data))
            more = cursor.next()
    return found


def list_places(txn: lmdb.Transaction[bytes], tables: Tables, after: tuple[str, int] | None, limit: int) -> list[Place]:
    """Return up to `limit` places of events, by stream and version."""
    return list(islice(_places(txn, tables, *(after or ("", 0))), limit))


def list_snapshots(
    txn: lmdb.Transaction[bytes], tables: Tables, after: str | None, limit: int
) -> list[EncodedSnapshot]:
    """Return up to `limit` snapshots by stream id."""
    values = (
        txn.get(name_key(stream_id), db=tables.snapshots)
        for stream_id in _stream_ids(txn, tables, None, None, (after or "").encode())
    )
    records = (decode_snapshot(value) for value in values if value is not None)
    return [EncodedSnapshot(record.stream_id, record.version, record.data) for record in islice(records, limit)]


def list_checkpoints(txn: lmdb.Transaction[bytes], tables: Tables, after: str | None, limit: int) -> list[Checkpoint]:
    """Return up to `limit` checkpoints, in the order of their keys."""
    found: list[Checkpoint] = []
    last_seen = b"" if after is None else name_key(after)
    with txn.cursor(db=tables.checkpoints) as cursor:
        more = cursor.first() if after is None else cursor.set_range(last_seen)
        while more and len(found) < limit:
            if cursor.key() != last_seen:
                record = decode_checkpoint(cursor.value())
                found.append(Checkpoint(record.name, record.position))
            more = cursor.next()
    return found


def entry_version(txn: lmdb.Transaction[bytes], tables: Tables, name: str, key: str) -> int:
    """Return the version of an entry, 0 if there is none."""
    value = txn.get(entry_key(name, key), db=tables.entries)
    return 0 if value is None else decode_entry(value).version


# --- What writes look up as well -------------------------------------------------------------------------------------


def find_stream(txn: lmdb.Transaction[bytes], tables: Tables, stream_id: str) -> StreamRecord | None:
    """Return the record of a stream, or None if it never had an event nor a tombstone."""
    value = txn.get(name_key(stream_id), db=tables.streams)
    return None if value is None else decode_stream(value)


def position_of(txn: lmdb.Transaction[bytes], tables: Tables, stream: bytes, version: int) -> bytes:
    """Return the key of the event that a stream has at a version."""
    return _must(txn.get(version_key(stream, version), db=tables.versions))


def event_at(txn: lmdb.Transaction[bytes], tables: Tables, position: bytes) -> RecordedEvent:
    """Return the event at a key of the log."""
    return decode_event(_must(txn.get(position, db=tables.events))).recorded(number_of(position))


def _must(value: bytes | None) -> bytes:
    if value is None:
        raise lmdb.CorruptedError("an event that its stream has is not in the log")
    return value


# --- Ranges of keys --------------------------------------------------------------------------------------------------


def _log(
    txn: lmdb.Transaction[bytes], tables: Tables, start: int | None, direction: Direction
) -> Iterator[tuple[int, bytes]]:
    with txn.cursor(tables.events) as cursor:
        if direction is Direction.FORWARD:
            found = cursor.set_range(number_key((start or 0) + 1))
            step = cursor.next
        else:
            found = cursor.prev() if start is not None and cursor.set_range(number_key(start)) else cursor.last()
            step = cursor.prev
        while found:
            yield number_of(cursor.key()), cursor.value()
            found = step()


def _places(txn: lmdb.Transaction[bytes], tables: Tables, after: str, version: int) -> Iterator[Place]:
    for stream_id in chain([after] if after else [], _stream_ids(txn, tables, None, None, after.encode())):
        key = name_key(stream_id)
        with txn.cursor(tables.versions) as cursor:
            more = cursor.set_range(version_key(key, version + 1 if stream_id == after else 1))
            while more and cursor.key().startswith(key):
                event = txn.get(cursor.value(), db=tables.events)
                # What the log has lost shows as a hole.
                if event is not None:
                    at = number_of(cursor.key()[len(key) :])
                    created_at = time_of(decode_event(event).created_at)
                    yield Place(stream_id, at, number_of(cursor.value()), created_at)
                more = cursor.next()


def _stream_ids(
    txn: lmdb.Transaction[bytes], tables: Tables, stream_type: str | None, prefix: str | None, after: bytes
) -> Iterator[str]:
    """Yield the ids that meet the conditions, and perhaps one that no stream has."""
    wanted = wanted_ids(stream_type, prefix)
    if wanted.alone is not None and wanted.alone.encode() > after:
        yield wanted.alone
    if wanted.prefix is not None:
        yield from _ids_with_prefix(txn, tables, wanted.prefix.encode(), after)


def _ids_with_prefix(txn: lmdb.Transaction[bytes], tables: Tables, prefix: bytes, after: bytes) -> Iterator[str]:
    with txn.cursor(tables.stream_ids) as cursor:
        found = _seek(cursor, max(prefix, after))
        while found:
            stream_id = joined_id(*cursor.item())
            if not stream_id.startswith(prefix):
                return
            if stream_id > after:
                yield stream_id.decode()
            found = cursor.next()


def _seek(cursor: lmdb.Cursor[bytes], text: bytes) -> bool:
    """Move to the first id that is not below `text`; tell whether there is one."""
    if not text:
        return cursor.first()  # LMDB takes no empty keys, not even to look for
    key, value = split_id(text)
    if cursor.set_range_dup(key, value):
        return True
    found = cursor.set_range(key)
    return cursor.next_nodup() if found and cursor.key() == key else found

"""Truncating and deleting streams in another store, as they were where the export comes from.

A stream that is there already may be another one of the same name. Events that are the same in both tell that it is
not; where none is left to tell it, nothing of the stream is removed, unless the store is to be updated: then the caller
has said so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eventstore.backend import StreamInfo
from eventstore.errors import ImportConflict, StreamDeleted, WrongExpectedVersion
from eventstore.moving.placing import deleted_here
from eventstore.moving.records import Snapshot, Stream

if TYPE_CHECKING:
    from eventstore.store import EventStore


class Streams:
    """The way of streams into the state that they had when they were exported."""

    def __init__(self, store: EventStore, *, update: bool) -> None:
        self.snapshots = 0
        self._changed: set[str] = set()
        self._store = store
        self._update = update

    @property
    def changed(self) -> int:
        """How many streams were truncated or deleted, or began truncated."""
        return len(self._changed)

    async def begin(self, line: int, stream: Stream) -> None:
        """Let a stream be where its first event follows, before any event is stored. Raises `ImportConflict`."""
        gone = stream.first_version - 1
        if gone == 0:
            return
        info = await self._store.stream_info(stream.stream_id)
        if info is not None and info.deleted:
            if not stream.deleted:
                raise deleted_here(line, stream.stream_id)
            return
        has_events = info is not None and info.first_version <= info.version
        version = 0 if info is None else info.version
        if has_events and not self._update:
            self._check_can_be_known(line, stream, version)
        if version >= gone:
            return
        with self._nobody_else_at(line, stream.stream_id):
            if has_events:
                await self._store.truncate_stream(stream.stream_id, stream.first_version)
            restore = self._store._backend.restore_stream
            if await self._store._repeatable(restore, stream.stream_id, gone) is not None:
                raise _changed_meanwhile(line, stream.stream_id)
        self._changed.add(stream.stream_id)

    def _check_can_be_known(self, line: int, stream: Stream, version: int) -> None:
        """Refuse a stream of which the export has no event that is here as well."""
        if version < stream.first_version or stream.is_empty:
            raise ImportConflict(
                line,
                f"stream {stream.stream_id!r} has events here, up to version {version}, and the export has none of "
                f"them, as if it had been truncated before version {stream.first_version}: if this store was filled "
                "from an earlier export of the same one, import with update=True (--update)",
                stream_id=stream.stream_id,
            )

    async def finish(self, line: int, stream: Stream) -> None:
        """Truncate or delete a stream whose events are stored. Raises `ImportConflict`."""
        info = await self._store.stream_info(stream.stream_id)
        if info is not None and not info.deleted and info.version != stream.version:
            raise ImportConflict(
                line,
                f"stream {stream.stream_id!r} is at version {info.version} here and at {stream.version} in the export",
                stream_id=stream.stream_id,
            )
        with self._nobody_else_at(line, stream.stream_id):
            if stream.deleted:
                await self._delete(stream, info)
            elif info is not None and info.first_version < stream.first_version:
                await self._store.truncate_stream(stream.stream_id, stream.first_version)
                self._changed.add(stream.stream_id)

    async def _delete(self, stream: Stream, info: StreamInfo | None) -> None:
        has_events = info is not None and info.first_version <= info.version
        if info is None or not info.deleted or (stream.is_empty and has_events):
            await self._store.delete_stream(stream.stream_id, expected_version=stream.version, erase=stream.is_empty)
            self._changed.add(stream.stream_id)

    async def save_snapshot(self, line: int, snapshot: Snapshot) -> None:
        """Save a snapshot, unless a later one is there. Raises `ImportConflict`."""
        with self._nobody_else_at(line, snapshot.stream_id):
            await self._store.save_snapshot(snapshot.stream_id, snapshot.version, snapshot.data)
        self.snapshots += 1

    @contextmanager
    def _nobody_else_at(self, line: int, stream_id: str) -> Iterator[None]:
        try:
            yield
        except (StreamDeleted, WrongExpectedVersion) as error:
            raise _changed_meanwhile(line, stream_id) from error


def _changed_meanwhile(line: int, stream_id: str) -> ImportConflict:
    return ImportConflict(line, f"others change stream {stream_id!r} meanwhile", stream_id=stream_id)

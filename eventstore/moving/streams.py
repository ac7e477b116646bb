"""Truncating and deleting streams in another store, as they were where the export comes from.

A stream that is there already may be another one of the same name. Events that are the same in both tell that it is
not; where none is left to tell it, nothing of the stream is removed, unless the store is to be updated: then the caller
has said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    def __init__(self, store: EventStore, streams: Mapping[str, Stream], *, update: bool) -> None:
        """`streams` are those of the export that were truncated or deleted."""
        self.snapshots = 0
        self._store = store
        self._streams = streams
        self._update = update
        # Whether nothing was here, so that nothing is to be looked at; what was; what begins as it was exported.
        self._is_empty = False
        self._begun: set[str] = set()
        self._restored: set[str] = set()
        self._changed: set[str] = set()

    @property
    def changed(self) -> int:
        """How many streams were truncated or deleted, or began truncated."""
        return len(self._changed)

    def is_gone(self, stream_id: str, version: int) -> bool:
        """Tell whether the export has an event only because it was truncated while the export was made."""
        stream = self._streams.get(stream_id)
        return stream is not None and version < stream.first_version

    async def check_all(self, first_line: int) -> None:
        """Refuse streams that stand against what is here, before anything is stored. Raises `ImportConflict`."""
        self._is_empty = True
        async for _ in self._store.list_streams(include_deleted=True, limit=1):
            self._is_empty = False
        if not self._is_empty:
            for line, stream in enumerate(self._streams.values(), first_line):
                await self._check(line, stream)

    async def _check(self, line: int, stream: Stream) -> None:
        info = await self._store.stream_info(stream.stream_id)
        if info is None or (stream.first_version == 1 and not info.deleted):
            return
        if info.deleted and not stream.deleted:
            raise deleted_here(line, stream.stream_id)
        if info.deleted:
            _check_version(line, stream, info)
        if not self._update and await self._may_be_another(stream, info):
            raise ImportConflict(
                line,
                f"stream {stream.stream_id!r} has events or a snapshot here, up to version {info.version}, and the "
                f"export has none of them, as if it had been truncated before version {stream.first_version}: if this "
                "store was filled from an earlier export of the same one, import with update=True (--update)",
                stream_id=stream.stream_id,
            )

    async def _may_be_another(self, stream: Stream, info: StreamInfo) -> bool:
        if _has_events(info):
            # From the first version on that the export has, its events are compared with those that are here.
            return info.version < stream.first_version or stream.is_empty
        goes_on = stream.deleted or info.version < stream.first_version - 1
        return goes_on and not info.deleted and await self._store.load_snapshot(stream.stream_id) is not None

    async def begin(self, line: int, stream_id: str) -> None:
        """Let a truncated stream be where its first event follows. Raises `ImportConflict`."""
        stream = self._streams.get(stream_id)
        if stream is None or stream_id in self._begun:
            return
        self._begun.add(stream_id)
        gone = stream.first_version - 1
        info = None if self._is_empty else await self._store.stream_info(stream_id)
        if gone == 0 or (info is not None and (info.deleted or info.version >= gone)):
            return
        with self._nobody_else_at(line, stream_id):
            if info is not None and _has_events(info):
                self._check_is_to_be_updated(line, stream_id)
                await self._store.truncate_stream(stream_id, stream.first_version)
            restore = self._store._backend.restore_stream
            if await self._store._repeatable(restore, stream_id, gone) is not None:
                raise _changed_meanwhile(line, stream_id)
        self._restored.add(stream_id)
        self._changed.add(stream_id)

    async def finish(self, line: int, stream: Stream) -> None:
        """Truncate or delete a stream whose events are stored. Raises `ImportConflict`."""
        await self.begin(line, stream.stream_id)
        if stream.stream_id in self._restored and not stream.deleted:
            return
        info = await self._store.stream_info(stream.stream_id)
        if info is not None:
            _check_version(line, stream, info)
            if stream.is_empty and _has_events(info):
                self._check_is_to_be_updated(line, stream.stream_id)
        with self._nobody_else_at(line, stream.stream_id):
            if info is not None and not info.deleted and not stream.is_empty:
                await self._truncate(stream, info)
            if stream.deleted:
                await self._delete(stream, info)
            elif info is not None and stream.is_empty:
                await self._truncate(stream, info)

    async def _truncate(self, stream: Stream, info: StreamInfo) -> None:
        if info.first_version < stream.first_version:
            await self._store.truncate_stream(stream.stream_id, stream.first_version)
            self._changed.add(stream.stream_id)

    async def _delete(self, stream: Stream, info: StreamInfo | None) -> None:
        is_left = info is not None and _has_events(info) and stream.is_empty
        if info is None or not info.deleted or is_left:
            await self._store.delete_stream(stream.stream_id, expected_version=stream.version, erase=stream.is_empty)
            self._changed.add(stream.stream_id)

    async def save_snapshot(self, line: int, snapshot: Snapshot) -> None:
        """Save a snapshot, where there is none of as late a version or it is to be updated. Raises `ImportConflict`."""
        kept = None if self._update else await self._store.load_snapshot(snapshot.stream_id)
        if kept is None or kept.version < snapshot.version:
            with self._nobody_else_at(line, snapshot.stream_id):
                await self._store.save_snapshot(snapshot.stream_id, snapshot.version, snapshot.data)
            self.snapshots += 1

    def _check_is_to_be_updated(self, line: int, stream_id: str) -> None:
        """Refuse to remove events that were not there when the import began."""
        if not self._update:
            raise _changed_meanwhile(line, stream_id)

    @contextmanager
    def _nobody_else_at(self, line: int, stream_id: str) -> Iterator[None]:
        try:
            yield
        except (StreamDeleted, WrongExpectedVersion) as error:
            raise _changed_meanwhile(line, stream_id) from error


def _has_events(info: StreamInfo) -> bool:
    return info.first_version <= info.version


def _check_version(line: int, stream: Stream, info: StreamInfo) -> None:
    if info.version != stream.version:
        raise ImportConflict(
            line,
            f"stream {stream.stream_id!r} is at version {info.version} here and at {stream.version} in the export",
            stream_id=stream.stream_id,
        )


def _changed_meanwhile(line: int, stream_id: str) -> ImportConflict:
    return ImportConflict(line, f"others change stream {stream_id!r} meanwhile", stream_id=stream_id)

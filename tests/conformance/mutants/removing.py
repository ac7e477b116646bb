"""Mutants that list, truncate and delete otherwise than they should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from eventstore import ANY, EventStore, ExpectedVersion, StreamInfo
from eventstore.backend import StreamState
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState

# --- Listing ---------------------------------------------------------------------------------------------------------


@caught_by("LIST-14", "TRUNCATE-09", "DELETE-12")
class TakesAnyNameAndBound(EventStore):
    """Answers with nothing what it should refuse."""

    def list_streams(self, **options: Any) -> AsyncIterator[StreamInfo]:
        try:
            return super().list_streams(**options)
        except ValueError:
            return super().list_streams(limit=0)

    async def truncate_stream(self, stream_id: str, before_version: int) -> int:
        try:
            return await super().truncate_stream(stream_id, before_version)
        except ValueError:
            return 0

    async def delete_stream(self, stream_id: str, *, expected_version: ExpectedVersion, erase: bool = False) -> None:
        try:
            await super().delete_stream(stream_id, expected_version=expected_version, erase=erase)
        except ValueError:
            return


@caught_by("LIST-01")
class ListsInTheOrderOfAge(CarelessState):
    """Lists streams as they were made, not by id."""

    def list_streams(self, *conditions: Any, **options: Any) -> list[StreamInfo]:
        found = super().list_streams(*conditions, **options)
        made = list(self._streams)
        return sorted(found, key=lambda info: made.index(info.stream_id))


@caught_by("LIST-01")
class ListsByTheLocale(CarelessState):
    """Sorts ids as a collation does, capitals beside small letters."""

    def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        found = super().list_streams(stream_type, prefix, None, 2**31, include_deleted=include_deleted)
        found.sort(key=lambda info: (info.stream_id.casefold(), info.stream_id))
        past = [info for info in found if after is None or info.stream_id.casefold() > after.casefold()]
        return past[:limit]


@caught_by("LIST-03")
class ListsATypeByItsPrefix(CarelessState):
    """Finds the streams of a type by `LIKE 'order-%'`, and not the one that is `order` itself."""

    def list_streams(self, stream_type: str | None, *conditions: Any, **options: Any) -> list[StreamInfo]:
        found = super().list_streams(stream_type, *conditions, **options)
        return [info for info in found if stream_type is None or info.stream_id != stream_type]


@caught_by("LIST-08")
class ListsDeletedStreams(CarelessState):
    """Lists deleted streams whether it is asked for them or not."""

    def list_streams(self, *conditions: Any, **options: Any) -> list[StreamInfo]:
        return super().list_streams(*conditions, include_deleted=True)


@caught_by("LIST-09")
class ForgetsStreamsWithoutEvents(CarelessState):
    """Lists the streams that have events: one that was truncated to nothing is gone."""

    def list_streams(self, *conditions: Any, **options: Any) -> list[StreamInfo]:
        found = super().list_streams(*conditions, **options)
        return [info for info in found if info.first_version <= info.version or info.deleted]


# --- Truncating ------------------------------------------------------------------------------------------------------


@caught_by("TRUNCATE-02")
class RenumbersWhatIsLeft(CarelessState):
    """Counts versions by the events that are there: after a truncation numbering begins again."""

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        removed = super().truncate_stream(stream_id, before_version)
        stream = self._streams.get(stream_id)
        if stream and not stream.events:
            stream.version = 0
        return removed


@caught_by("TRUNCATE-01")
class TruncatesTheBoundToo(CarelessState):
    """Removes the event at the bound as well."""

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        return super().truncate_stream(stream_id, before_version + 1)


@caught_by("TRUNCATE-01", "LOG-06")
class TruncatesTheStreamAlone(CarelessState):
    """Removes events from their stream, and leaves them in the log."""

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        log = self._log.copy()
        removed = super().truncate_stream(stream_id, before_version)
        self._log = log
        return removed


@caught_by("TRUNCATE-05")
class TruncatesDeletedStreams(CarelessState):
    """Truncates a deleted stream as any other: history goes that should stay."""

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.deleted:
            return super().truncate_stream(stream_id, before_version)
        return self._remove(stream, min(before_version - stream.first_version, len(stream.events)))


@caught_by("TRUNCATE-01")
class CountsWhatItKeeps(CarelessState):
    """Returns how many events are left instead of how many were removed."""

    def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        removed = super().truncate_stream(stream_id, before_version)
        return removed and len(self._streams[stream_id].events)


# --- Deleting --------------------------------------------------------------------------------------------------------


@caught_by("DELETE-01", "APPEND-19")
class ForgetsTheTombstone(CarelessState):
    """Removes the stream and keeps no trace of it: its id is free, its versions begin again."""

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        state = super().delete_stream(stream_id, expected_version, erase=True)
        if state is None:
            del self._streams[stream_id]
            self._stream_ids.remove(stream_id)
        return state


@caught_by("FILTER-09", "DELETE-05")
class ErasesWhatItDeletes(CarelessState):
    """Removes the events of a deleted stream from the log without being asked."""

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        return super().delete_stream(stream_id, expected_version, erase=True)


@caught_by("DELETE-09", "LOG-06")
class KeepsWhatItShouldErase(CarelessState):
    """Puts a tombstone and leaves the events: what must be forgotten is not."""

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        return super().delete_stream(stream_id, expected_version, erase=False)


@caught_by("DELETE-02")
class DeletesWhateverIsExpected(CarelessState):
    """Checks no expectation before it deletes."""

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        return super().delete_stream(stream_id, ANY, erase=erase)


@caught_by("SNAPSHOT-10")
class LeavesTheSnapshotOfADeletedStream(CarelessState):
    """Leaves the snapshot behind: what was deleted can still be loaded."""

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        kept = self.snapshots.copy()
        state = super().delete_stream(stream_id, expected_version, erase=erase)
        self.snapshots = kept
        return state


@caught_by("DELETE-06")
class DeletesTwice(CarelessState):
    """Reports a second deletion as done."""

    def delete_stream(self, stream_id: str, expected_version: ExpectedVersion, *, erase: bool) -> StreamState | None:
        deleted = self._state_of(stream_id).deleted
        state = super().delete_stream(stream_id, expected_version, erase=erase)
        return None if deleted else state

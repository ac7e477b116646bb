"""Mutants that take one name for another."""

from __future__ import annotations

import unicodedata
from typing import Any

from msgspec.structs import replace

from eventstore import EventStore, RecordedEvent, StreamInfo
from eventstore.backend import Direction, EncodedEvent, LogPage, Outcome, Transaction
from eventstore.filters import Filter
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState, with_events


class Renaming(CarelessState):
    """An engine that keeps a stream under another id than the one it was given."""

    def renamed(self, stream_id: str) -> str:
        """Return the id that the stream is kept under."""
        raise NotImplementedError

    def append(self, transaction: Transaction) -> Outcome:
        renamed = [replace(append, stream_id=self.renamed(append.stream_id)) for append in transaction]
        # Two streams that have become one take their events one after the other.
        return super().append(renamed)

    def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        return super().read_stream(self.renamed(stream_id), start, limit, direction)

    def stream_info(self, stream_id: str) -> StreamInfo | None:
        return super().stream_info(self.renamed(stream_id))


@caught_by("NAME-04")
class FoldsTheCaseOfIds(Renaming):
    """Compares ids as MySQL does unless told otherwise: without regard to case."""

    def renamed(self, stream_id: str) -> str:
        return stream_id.lower()


@caught_by("NAME-01", "NAME-04")
class CutsIds(Renaming):
    """Has a column of 200 characters: what ids differ in behind is lost."""

    def renamed(self, stream_id: str) -> str:
        return stream_id[:200]


@caught_by("NAME-01")
class CountsBytesOfIds(Renaming):
    """Has a column of 255 bytes: ids in other scripts are cut short."""

    def renamed(self, stream_id: str) -> str:
        return stream_id.encode()[:255].decode(errors="ignore")


@caught_by("NAME-04")
class NormalisesIds(Renaming):
    """Brings ids to a normal form, as some file systems do: two spellings are one stream."""

    def renamed(self, stream_id: str) -> str:
        return unicodedata.normalize("NFKC", stream_id)


@caught_by("NAME-04")
class TrimsIds(Renaming):
    """Pads or trims ids, as a CHAR column does."""

    def renamed(self, stream_id: str) -> str:
        return stream_id.strip() or stream_id


@caught_by("NAME-01")
class UnescapesIds(Renaming):
    """Decodes ids like parts of a URL: `%` and `+` mean something."""

    def renamed(self, stream_id: str) -> str:
        return stream_id.replace("\\", "/").replace("%", "")


@caught_by("NAME-06")
class TakesTheTypeUpToTheLastDash(CarelessState):
    """Splits the stream's id at its last dash: `order-42-1` has the type `order-42`."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append([replace(it, stream_type=it.stream_id.rpartition("-")[0]) for it in transaction])


@caught_by("NAME-02", "NAME-04")
class CutsEventTypes(CarelessState):
    """Has a column of 100 characters for event types."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(with_events(transaction, self._cut))

    def _cut(self, event: EncodedEvent) -> EncodedEvent:
        return replace(event, event_type=event.event_type[:100])


@caught_by("NAME-04", "FILTER-02")
class FoldsTheCaseOfEventTypes(CarelessState):
    """Looks event types up without regard to case."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        if filter is None or filter.event_types is None:
            return super().read_all(start, limit, direction, filter)
        wanted = {name.lower() for name in filter.event_types}
        present = {it.event.event_type for it in self._log if it.event.event_type.lower() in wanted}
        return super().read_all(start, limit, direction, _with(filter, event_types=present or filter.event_types))


@caught_by("NAME-05", "NAME-01")
class KeepsNamesInLatin1(Renaming):
    """Has a database whose encoding is not UTF-8."""

    def renamed(self, stream_id: str) -> str:
        return stream_id.encode("latin-1", errors="replace").decode("latin-1")


@caught_by("APPEND-24", "READ-12")
class TakesAnyNameForAStream(EventStore):
    """Makes text of whatever it is given as a stream id."""

    async def append(self, stream_id: Any, events: Any, *, expected_version: Any) -> list[RecordedEvent]:
        return await super().append(named(stream_id), events, expected_version=expected_version)

    def read_stream(self, stream_id: Any, **options: Any) -> Any:
        return super().read_stream(named(stream_id), **options)

    async def stream_info(self, stream_id: Any) -> StreamInfo | None:
        return await super().stream_info(named(stream_id))


def named(anything: object) -> str:
    """Return a sound name for anything."""
    return ascii(anything)[:255]


def _with(filter: Filter, **conditions: Any) -> Filter:
    fields = {name: getattr(filter, name) for name in filter.__struct_fields__}
    return Filter(**fields | conditions)

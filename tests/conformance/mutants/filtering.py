"""Mutants that let through, or leave out, what a filter does not."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from eventstore import EventStore, Filter, RecordedEvent
from eventstore.backend import Direction, LogPage
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState


class FilteringState(CarelessState):
    """A state that reads as it should, by what `lets_through` decides."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        return filter.matches(event)

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        decides: Any = _Decision(self, filter) if filter else None
        return super().read_all(start, limit, direction, decides)


class _Decision:
    """A filter that asks a mutant."""

    def __init__(self, mutant: FilteringState, filter: Filter) -> None:
        self._mutant = mutant
        self._filter = filter

    def matches(self, event: RecordedEvent) -> bool:
        return self._mutant.lets_through(self._filter, event)


# --- Conditions ------------------------------------------------------------------------------------------------------


@caught_by("FILTER-01", "FILTER-03", "FILTER-06", "FILTER-08")
class PassesOverConditions(FilteringState):
    """Knows event types alone, and passes over the conditions that it does not know."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        return filter.event_types is None or event.event_type in filter.event_types


@caught_by("FILTER-06")
class TakesOneConditionForEnough(FilteringState):
    """Joins the conditions with OR."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        given = {name: getattr(filter, name) for name in Filter.__struct_fields__}
        alone = [Filter(**{name: value}) for name, value in given.items() if value is not None]
        return not alone or any(condition.matches(event) for condition in alone)


@caught_by("FILTER-01")
class TakesATypeForAPrefix(FilteringState):
    """Finds the streams of a type by `LIKE 'order%'`: those of `orders` come along."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        if filter.stream_types is None:
            return filter.matches(event)
        rest = Filter(stream_id_prefix=filter.stream_id_prefix, event_types=filter.event_types)
        return rest.matches(event) and any(event.stream_id.startswith(it) for it in filter.stream_types)


@caught_by("FILTER-01", "FILTER-06")
class KnowsTheFirstTypeOnly(FilteringState):
    """Compares with the first of the types listed, and passes over the others."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        types = filter.stream_types
        return filter.matches(event) and (types is None or event.stream_type == next(iter(types)))


@caught_by("FILTER-02")
class ComparesTypesInOneCase(FilteringState):
    """Compares event types in lower case."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        if filter.event_types is None:
            return filter.matches(event)
        return event.event_type.lower() in {name.lower() for name in filter.event_types}


@caught_by("FILTER-03", "NAME-03")
class TakesAPrefixForAPattern(FilteringState):
    """Finds a prefix by `LIKE` and leaves `%` and `_` in it unescaped."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        prefix = filter.stream_id_prefix
        return filter.matches(event) or (
            prefix is not None and any(sign in prefix for sign in "%_") and len(event.stream_id) >= len(prefix)
        )


@caught_by("FILTER-03")
class LooksForAPrefixAnywhere(FilteringState):
    """Finds a prefix in the middle of an id, too."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        return filter.matches(event) or (filter.stream_id_prefix or "\0") in event.stream_id


@caught_by("FILTER-04", "FILTER-05")
class LeavesOutTheLastInstant(FilteringState):
    """Takes `created_to` for exclusive."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        return filter.matches(event) and (filter.created_to is None or event.created_at < filter.created_to)


@caught_by("FILTER-04")
class ComparesMilliseconds(FilteringState):
    """Keeps times to the millisecond where it compares them."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        if filter.created_from is None:
            return filter.matches(event)
        tick = 1_000
        since = filter.created_from.replace(microsecond=filter.created_from.microsecond // tick * tick)
        return event.created_at >= since


@caught_by("FILTER-05")
class ForgetsTheZoneOfATime(FilteringState):
    """Drops the zone of a time and takes the rest for UTC."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        since, until = (time and time.replace(tzinfo=UTC) for time in (filter.created_from, filter.created_to))
        return (since is None or event.created_at >= since) and (until is None or event.created_at <= until)


# --- Pages of what matches -------------------------------------------------------------------------------------------


@caught_by("FILTER-07")
class LimitsWhatItLooksAt(EventStore):
    """Counts the limit before it filters: the first so many events, as far as they match."""

    def read_all(self, *, filter: Filter | None = None, **options: Any) -> Any:
        events = super().read_all(**options)
        return super().read_all(filter=filter) if not isinstance(filter, Filter) else _matching(events, filter)


async def _matching(events: Any, filter: Filter) -> Any:
    async for event in events:
        if filter.matches(event):
            yield event


@caught_by("FILTER-08")
class EndsAtAPageWithoutAMatch(FilteringState):
    """Filters the page after it was read, and takes one without a match for the end of the log."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = super().read_all(start, limit, direction, None)
        events = [event for event in page.events if filter is None or filter.matches(event)]
        return LogPage(events, page.looked_to, page.at_end or not events)


@caught_by("FILTER-07")
class JumpsAheadOfAFullPage(FilteringState):
    """Says that it looked up to the head where the page was full: the matches in between are never read."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = super().read_all(start, limit, direction, filter)
        if filter is None or page.at_end or direction is Direction.BACKWARD:
            return page
        return LogPage(page.events, self.head, page.at_end)


@caught_by("FILTER-08")
class ParksAtTheLastMatch(FilteringState):
    """Never says how far it looked beyond the last match: a page without one is read again and again."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = super().read_all(start, limit, direction, None)
        if filter is None:
            return page
        events = [event for event in page.events if filter.matches(event)]
        return LogPage(events, events[-1].global_position if events else start or 0, page.at_end)


@caught_by("FILTER-09")
class HidesDeletedStreams(FilteringState):
    """Leaves the events of deleted streams out of the log: history is changed."""

    def lets_through(self, filter: Filter, event: RecordedEvent) -> bool:
        return filter.matches(event) and not self._state_of(event.stream_id).deleted

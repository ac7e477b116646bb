"""What a history and a log tell together, put in order for the checks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from eventstore import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion, RecordedEvent
from eventstore_conformance.history import (
    Acknowledged,
    Append,
    CheckpointLoad,
    CheckpointSave,
    LogRead,
    Record,
    Refused,
    SentWrite,
    StoredEvent,
)

NEVER: Final = 2**63
"""After every instant."""

_position = attrgetter("global_position")


class Attempt(NamedTuple):
    """One try to store an event: the call, and the batch in it."""

    append: Append
    write: SentWrite


class Interval(NamedTuple):
    """When an event was stored: not before `earliest`, and not after `latest`."""

    earliest: int
    latest: int


class StreamTimes(NamedTuple):
    """What is known of when a stream reached its versions; all lists are by version."""

    base: int
    boundaries: frozenset[int]
    reached_from: list[int]
    reached_by: list[int]

    def least(self, instant: int) -> int:
        """Return the version that the stream had reached before `instant` for sure."""
        return self.base + bisect_left(self.reached_by, instant)

    def greatest(self, instant: int) -> int:
        """Return the version that the stream can have reached at most by `instant`."""
        return self.base + bisect_right(self.reached_from, instant)


class Evidence:
    """A history and the log that it led to, indexed."""

    def __init__(
        self,
        history: Sequence[Record],
        log: Sequence[RecordedEvent],
        versions: Mapping[str, int],
        checkpoints: Mapping[str, int],
    ) -> None:
        self.log = log
        self.versions = versions
        self.checkpoints = checkpoints
        self.appends = [record for record in history if isinstance(record, Append)]
        self.reads = [record for record in history if isinstance(record, LogRead)]
        self.saves = [record for record in history if isinstance(record, CheckpointSave)]
        self.loads = [record for record in history if isinstance(record, CheckpointLoad)]

    # --- The log -------------------------------------------------------------------------------------------------

    @cached_property
    def stored(self) -> dict[UUID, list[RecordedEvent]]:
        """The events of the log by id; more than one where an event is doubled."""
        stored = defaultdict(list)
        for event in self.log:
            stored[event.event_id].append(event)
        return dict(stored)

    @cached_property
    def events(self) -> list[RecordedEvent]:
        """The events of the log by position, each id once."""
        return sorted((events[0] for events in self.stored.values()), key=_position)

    @cached_property
    def streams(self) -> dict[str, list[RecordedEvent]]:
        """The events of each stream by version, each id once."""
        streams = defaultdict(list)
        for event in self.events:
            streams[event.stream_id].append(event)
        return {stream_id: sorted(events, key=lambda event: event.version) for stream_id, events in streams.items()}

    def between(self, after: int, to: int) -> Sequence[RecordedEvent]:
        """Return the events above one position, up to and with another."""
        first = bisect_right(self.events, after, key=_position)
        return self.events[first : bisect_right(self.events, to, key=_position)]

    def find(self, event_id: UUID) -> RecordedEvent | None:
        """Return the event of the log with this id."""
        events = self.stored.get(event_id)
        return events[0] if events else None

    def is_whole(self, append: Append) -> bool:
        """Tell whether each batch of an append stands in its stream, all of it and in one piece."""
        for write in append.writes:
            found = [self.find(event.event_id) for event in write.events]
            first = found[0]
            for number, event in enumerate(found):
                if first is None or event is None or event.stream_id != write.stream_id:
                    return False
                if event.version != first.version + number:
                    return False
        return True

    # --- Appends -------------------------------------------------------------------------------------------------

    @cached_property
    def attempts(self) -> dict[UUID, list[Attempt]]:
        """All tries to store each event."""
        attempts = defaultdict(list)
        for append in self.appends:
            for write in append.writes:
                for event in write.events:
                    attempts[event.event_id].append(Attempt(append, write))
        return dict(attempts)

    def possible_attempts(self, event_id: UUID) -> list[Attempt]:
        """Return the tries that can have stored an event: those that were not refused."""
        return [
            attempt for attempt in self.attempts.get(event_id, []) if not isinstance(attempt.append.outcome, Refused)
        ]

    def acknowledged(self) -> Iterator[tuple[Append, Acknowledged]]:
        """Return the acknowledged appends, each with its answer."""
        for append in self.appends:
            if isinstance(append.outcome, Acknowledged):
                yield append, append.outcome

    def refused(self, error: str) -> Iterator[tuple[Append, Refused]]:
        """Return the appends refused by an error, each with its facts."""
        for append in self.appends:
            if isinstance(append.outcome, Refused) and append.outcome.error == error:
                yield append, append.outcome

    # --- Real time -----------------------------------------------------------------------------------------------

    @cached_property
    def witnesses(self) -> dict[UUID, Append | LogRead]:
        """For each event the first record to end that shows it stored: an answer, or a reading."""
        witnesses: dict[UUID, Append | LogRead] = {}
        shown: list[tuple[Append | LogRead, Iterable[StoredEvent]]] = [
            (append, chain.from_iterable(answer.events)) for append, answer in self.acknowledged()
        ]
        shown += [(read, read.events) for read in self.reads]
        for record, events in shown:
            for event in events:
                known = witnesses.get(event.event_id)
                if known is None or record.end < known.end:
                    witnesses[event.event_id] = record
        return witnesses

    @cached_property
    def intervals(self) -> dict[UUID, Interval]:
        """When each event of the log was stored: after it was first sent, and before anybody knew of it."""
        intervals: dict[UUID, Interval] = {}
        for event_id in self.stored:
            earliest = min((attempt.append.start for attempt in self.possible_attempts(event_id)), default=0)
            witness = self.witnesses.get(event_id)
            # One who knows of it before it is sent is wrong about more than the order.
            latest = NEVER if witness is None or witness.end < earliest else witness.end
            intervals[event_id] = Interval(earliest, latest)
        return intervals

    def sent_at(self, event: RecordedEvent) -> int:
        """Return when an event of the log was first sent."""
        return self.intervals[event.event_id].earliest

    def first_attempt(self, event_id: UUID) -> Append:
        """Return the first try that can have stored an event."""
        appends = [append for append, _ in self.possible_attempts(event_id)]
        return min(appends, key=lambda append: append.start)

    def times_of(self, stream_id: str) -> StreamTimes:
        """Return when a stream reached its versions."""
        return self._times.get(stream_id) or StreamTimes(
            self.base(stream_id), frozenset({self.base(stream_id)}), [], []
        )

    def base(self, stream_id: str) -> int:
        """Return the version of a stream before the history."""
        return self.versions.get(stream_id, 0)

    @cached_property
    def _times(self) -> dict[str, StreamTimes]:
        return {stream_id: self._times_of(stream_id, events) for stream_id, events in self.streams.items()}

    def _times_of(self, stream_id: str, events: Sequence[RecordedEvent]) -> StreamTimes:
        intervals = [self.intervals[event.event_id] for event in events]
        # A version is reached no sooner than those below it, and no later than those above it.
        reached_from = list(accumulate((interval.earliest for interval in intervals), max))
        reached_by = list(accumulate((interval.latest for interval in reversed(intervals)), min))[::-1]
        last_ids = {
            attempt.write.events[-1].event_id for event in events for attempt in self.possible_attempts(event.event_id)
        }
        boundaries = {event.version for event in events if event.event_id in last_ids}
        base = self.base(stream_id)
        return StreamTimes(base, frozenset(boundaries | {base}), reached_from, reached_by)


def meets(expected: ExpectedVersion, version: int) -> bool:
    """Tell whether a stream at this version is what an append expects."""
    if expected is ANY:
        return True
    if expected is NO_STREAM:
        return version == 0
    if expected is STREAM_EXISTS:
        return version > 0
    return version == expected

"""Histories as a sound store makes them: workers whose calls overlap, each taking effect at one instant in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import count
from uuid import UUID

from eventstore import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion, Filter, NewEvent, RecordedEvent, StreamWrite
from eventstore_conformance.history import (
    Acknowledged,
    Append,
    CheckpointLoad,
    CheckpointSave,
    LogRead,
    Mismatch,
    Moved,
    NotMoved,
    Record,
    Unknown,
    as_sent,
    as_stored,
)
from eventstore_conformance.history import Refused as RefusedOutcome
from eventstore_conformance.model import Model, Refused

STREAMS = ("a-1", "a-2", "b-1")
FILTERS = (None, None, Filter(stream_types=["a"]), Filter(event_types=["Odd"]))
WORKERS = 4
CALLS = 14
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Story:
    """A history, the log at its end, and all that was ever sent."""

    history: list[Record] = field(default_factory=list)
    log: list[RecordedEvent] = field(default_factory=list)
    sent: dict[UUID, NewEvent] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return max(record.end for record in self.history) + 1


@dataclass
class Call:
    """Who calls, and when."""

    worker: str
    start: int
    end: int


def recorded_at(stream_id: str, version: int, position: int, event: NewEvent) -> RecordedEvent:
    return RecordedEvent(
        stream_id,
        stream_id[0],
        version,
        position,
        event.event_id,
        event.event_type,
        event.data,
        event.metadata,
        LONG_AGO,
    )


def simulate(seed: int) -> Story:
    return Simulation(random.Random(seed)).run()


class Simulation:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.story = Story()
        self.model = Model()
        self.places: dict[UUID, RecordedEvent] = {}
        self.sent: list[Sequence[StreamWrite]] = []
        self.bookmarks: dict[tuple[str, int], int] = {}
        self.last_position = 0
        self.turns = count()
        self.agenda: list[tuple[int, int, Callable[[], object]]] = []

    def run(self) -> Story:
        for number in range(WORKERS):
            self.plan_call(f"worker {number}", self.chance.randint(1, 10), CALLS)
        while self.agenda:
            _, _, step = heappop(self.agenda)
            step()
        return self.story

    def at(self, instant: int, step: Callable[[], object]) -> None:
        heappush(self.agenda, (instant, next(self.turns), step))

    def plan_call(self, worker: str, start: int, remaining: int) -> None:
        def begin() -> None:
            effect = start + self.chance.randint(0, 9)
            call = Call(worker, start, effect + self.chance.randint(0, 9))
            (kind,) = self.chance.choices([self.append, self.read, self.save, self.load], [8, 3, 2, 1])
            kind(call, effect)
            if remaining > 1:
                self.plan_call(worker, call.end + self.chance.randint(1, 6), remaining - 1)

        self.at(start, begin)

    def new_id(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128))

    # --- Appending -----------------------------------------------------------------------------------------------

    def append(self, call: Call, effect: int) -> None:
        writes = self.some_writes()
        self.sent.append(writes)
        self.story.sent.update((event.event_id, event) for write in writes for event in write.events)
        if self.chance.random() < 0.2:
            lost = Append(
                self.new_id(), call.worker, call.start, call.end, tuple(map(as_sent, writes)), Unknown("cancelled")
            )
            self.story.history.append(lost)
            if self.chance.random() < 0.5:
                self.at(effect + self.chance.choice([0, 30]), lambda: self.take_effect(writes))
            return

        def answer() -> None:
            outcome = self.take_effect(writes)
            record = Append(self.new_id(), call.worker, call.start, call.end, tuple(map(as_sent, writes)), outcome)
            self.story.history.append(record)

        self.at(effect, answer)

    def some_writes(self) -> Sequence[StreamWrite]:
        if self.sent and self.chance.random() < 0.15:
            return self.chance.choice(self.sent)
        streams = self.chance.sample(STREAMS, self.chance.choice([1, 1, 1, 2]))
        writes = [self.some_write(stream_id) for stream_id in streams]
        if self.sent and self.chance.random() < 0.1:
            used = self.chance.choice(self.sent)[0].events[0]
            writes[0] = StreamWrite(streams[0], [used, *writes[0].events], ANY)
        return writes

    def some_write(self, stream_id: str) -> StreamWrite:
        version = self.model.stream(stream_id).version
        expectations: list[ExpectedVersion] = [ANY, ANY, NO_STREAM, STREAM_EXISTS, *3 * [version], max(0, version - 1)]
        expected = self.chance.choice(expectations)
        events = [
            NewEvent(self.chance.choice(["Odd", "Even"]), {"n": n}, {}, self.new_id())
            for n in range(self.chance.choice([1, 1, 2, 3]))
        ]
        return StreamWrite(stream_id, events, expected)

    def take_effect(self, writes: Sequence[StreamWrite]) -> Acknowledged | RefusedOutcome:
        try:
            versions = self.model.append(writes)
        except Refused as refusal:
            if refusal.error == "DuplicateEventId":
                assert isinstance(refusal.facts, set)
                return RefusedOutcome(refusal.error, event_ids=tuple(sorted(refusal.facts)))
            assert isinstance(refusal.facts, list)
            return RefusedOutcome(refusal.error, mismatches=tuple(Mismatch(*mismatch) for mismatch in refusal.facts))
        for write, placed in zip(writes, versions, strict=True):
            for event, version in zip(write.events, placed, strict=True):
                if event.event_id not in self.places:
                    self.place(write.stream_id, version, event)
        return Acknowledged(
            tuple(tuple(as_stored(self.places[event.event_id]) for event in write.events) for write in writes)
        )

    def place(self, stream_id: str, version: int, event: NewEvent) -> None:
        self.last_position += self.chance.choice([2, 2, 5])
        self.places[event.event_id] = recorded_at(stream_id, version, self.last_position, event)
        self.story.log.append(self.places[event.event_id])

    # --- Reading and checkpoints ---------------------------------------------------------------------------------

    def read(self, call: Call, effect: int) -> None:
        wanted = self.chance.randrange(len(FILTERS))
        after = self.bookmarks.get((call.worker, wanted), 0)
        limit = self.chance.choice([2, 5, 100])

        def look() -> None:
            found = [
                event
                for event in self.story.log
                if event.global_position > after and (FILTERS[wanted] or Filter()).matches(event)
            ][:limit]
            bookmark = found[-1].global_position if found else after
            self.bookmarks[call.worker, wanted] = bookmark
            seen = tuple(map(as_stored, found))
            self.story.history.append(
                LogRead(self.new_id(), call.worker, call.start, call.end, after, bookmark, FILTERS[wanted], seen)
            )

        self.at(effect, look)

    def save(self, call: Call, effect: int) -> None:
        expected = self.model.checkpoints.get("reader", 0)
        position = expected + self.chance.randint(0, 3)
        is_lost = self.chance.random() < 0.2
        happens = not is_lost or self.chance.random() < 0.5

        def move() -> None:
            outcome: Moved | NotMoved | Unknown = Moved()
            try:
                if happens:
                    self.model.save_checkpoint("reader", position, expected)
            except Refused:
                outcome = NotMoved(self.model.checkpoints.get("reader", 0))
            outcome = Unknown("cancelled") if is_lost else outcome
            self.story.history.append(
                CheckpointSave(self.new_id(), call.worker, call.start, call.end, "reader", expected, position, outcome)
            )

        self.at(effect, move)

    def load(self, call: Call, effect: int) -> None:
        def look() -> None:
            position = self.model.checkpoints.get("reader", 0)
            self.story.history.append(
                CheckpointLoad(self.new_id(), call.worker, call.start, call.end, "reader", position)
            )

        self.at(effect, look)

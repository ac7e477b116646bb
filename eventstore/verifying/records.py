"""What `EventStore.verify` reports: how much it looked at, and what is broken where."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from eventstore.wording import counted

DEFAULT_MOST_PROBLEMS: Final = 100
"""How many problems are listed, unless more or fewer are asked for; the rest are counted."""


class ProblemKind(Enum):
    """What is broken."""

    UNREADABLE = "unreadable"
    """It cannot be read at all: its JSON does not decode, say."""

    PAYLOAD = "payload"
    """The data or the metadata of an event, or the data of a snapshot, is no JSON object."""

    POSITION = "position"
    """Positions do not grow along the log, or an event stands beyond the log's head."""

    STREAM_TYPE = "stream type"
    """An event's stream type is not that of its stream's id."""

    EVENT_ID = "event id"
    """Two events have one id."""

    MISSING = "missing"
    """A stream lacks events that were not truncated."""

    DUPLICATE_VERSION = "duplicate version"
    """Two events of a stream have one version."""

    ORDER = "order"
    """The log has events of a stream in another order than their versions say."""

    CLOCK = "clock"
    """The time of an event is before that of the event before it in its stream."""

    NOT_IN_STREAM = "not in its stream"
    """The log has an event that reading its stream does not find."""

    NOT_IN_LOG = "not in the log"
    """A stream has an event that reading the log does not find."""

    LEFT_OVER = "left over"
    """An event is still there that was truncated or erased."""

    STREAM = "stream"
    """`stream_info` or `list_streams` do not know a stream, or tell another version than it has."""

    SNAPSHOT = "snapshot"
    """A snapshot is ahead of its stream, or of a stream that is deleted or was never there."""

    CHECKPOINT = "checkpoint"
    """A saved position is beyond the head of the log, or below 0."""

    CONSUMER = "consumer"
    """The same of a position that a consumer keeps; or what it keeps does not decode."""

    NOT_LOOKED_AT = "not looked at"
    """So much is broken that not all of it was looked at."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is broken, and where: what does not apply is None.

    `name` is that of the checkpoint or consumer. `detail` says in words what was found.
    """

    kind: ProblemKind
    detail: str
    stream_id: str | None = None
    version: int | None = None
    global_position: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        fields = (
            ("stream", self.stream_id),
            ("version", self.version),
            ("position", self.global_position),
            ("name", self.name),
        )
        place = ", ".join(f"{label} {value!a}" for label, value in fields if value is not None)
        return f"{self.kind.value}: {place}: {self.detail}" if place else f"{self.kind.value}: {self.detail}"


class Verification(msgspec.Struct, frozen=True):
    """What `EventStore.verify` looked at, and what it found.

    `head` is the position up to which the log was verified, and `events` how many events it has up to there. `streams`
    counts the deleted ones, too; `consumer_entries` what consumers keep: their settings, partitions, parked events.
    `more_problems` is how many there are beside those listed.
    """

    head: int
    events: int
    streams: int
    snapshots: int
    checkpoints: int
    consumer_entries: int
    problems: tuple[Problem, ...]
    more_problems: int

    @property
    def is_sound(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems and not self.more_problems

    def __str__(self) -> str:
        looked_at = (
            f"{counted(self.events, 'event')} up to position {self.head}, {counted(self.streams, 'stream')}, "
            f"{counted(self.snapshots, 'snapshot')}, {counted(self.checkpoints, 'checkpoint')}, "
            f"{counted(self.consumer_entries, 'consumer entry')}"
        )
        if self.is_sound:
            return f"sound: {looked_at}"
        lines = [
            f"{counted(len(self.problems) + self.more_problems, 'problem')} in {looked_at}",
            *map(str, self.problems),
        ]
        if self.more_problems:
            lines.append(f"and {self.more_problems:,} more")
        return "\n".join(lines)


class Findings:
    """What was found so far; the first so many problems are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.problems: list[Problem] = []
        self.more = 0

    def add(self, problem: Problem) -> None:
        """Note a problem."""
        if len(self.problems) < self._most:
            self.problems.append(problem)
        else:
            self.more += 1

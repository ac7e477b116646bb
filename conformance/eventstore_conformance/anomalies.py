"""What a check of a history can find."""

from __future__ import annotations

from enum import Enum

import msgspec

from eventstore import RecordedEvent
from eventstore_conformance.history import Record


class AnomalyKind(Enum):
    """The ways in which a store breaks its word; each value says what happened."""

    # The log
    POSITIONS_NOT_GROWING = "the positions of the log do not grow"
    VERSIONS_NOT_CONSECUTIVE = "a stream leaves out a version, or uses one twice"
    LOG_AGAINST_STREAM = "the log has the events of a stream in another order"
    STORED_TWICE = "an event is stored twice"
    NEVER_SENT = "an event is stored that nobody sent"

    # Appends
    LOST = "an acknowledged event is not stored"
    STORED_ELSEWHERE = "an acknowledged event is stored elsewhere than the answer said"
    WRONG_ANSWER = "the answer does not tell of the events that were sent"
    PAYLOAD_CHANGED = "an event is stored with another type or payload than was sent"
    REFUSED_BUT_STORED = "a refused event is stored"
    STORED_IN_PART = "an append of unknown outcome is stored in part"
    EXPECTATION_IGNORED = "a batch is stored where its expected version does not allow it"
    REFUSED_WRONGLY = "an append is refused for what cannot have been so"
    REPEAT_REFUSED = "an append is refused although it is one already acknowledged, sent again"

    # Real time
    STREAM_AGAINST_TIME = "an event stands in its stream before one that was stored when it was not even sent"
    LOG_AGAINST_TIME = "an event stands in the log before one that was stored when it was not even sent"

    # Readers
    READ_MISSED = "a reader's bookmark passed an event that it did not see"
    READ_TWICE = "a reader saw an event twice"
    READ_OUT_OF_ORDER = "a reader saw events in another order than the log's"
    READ_NOT_ASKED_FOR = "a reader saw an event below its start, or one that its filter leaves out"
    READ_NOT_STORED = "a reader saw an event that is not in the log"
    READ_CHANGED = "a reader saw an event otherwise than the log has it"
    READ_BEFORE_SENT = "a reader saw an event before it was sent"

    # Checkpoints
    CHECKPOINT_NEVER_SAVED = "a checkpoint is at a position that nobody saved"
    CHECKPOINT_WENT_BACK = "a checkpoint is below where it was before"
    CHECKPOINT_MOVED_TWICE = "a checkpoint was moved twice from one position"
    CHECKPOINT_REFUSED_WRONGLY = "a checkpoint was not moved although it was where it was expected"


class Anomaly(msgspec.Struct, frozen=True):
    """Something that no sound store does.

    `sentence` says what it is, with its facts. `records` and `events` are the smallest piece of the history and of the
    log that shows it: of a reading, only the events that matter.
    """

    kind: AnomalyKind
    sentence: str
    records: tuple[Record, ...] = ()
    events: tuple[RecordedEvent, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.kind.name}: {self.sentence}", *map(repr, self.records), *map(repr, self.events)])


def place(event: RecordedEvent) -> str:
    """Return where an event of the log stands, for a sentence."""
    return f"version {event.version} of {event.stream_id!r} at position {event.global_position}"

"""Checking a history against the log that it led to.

The log is read when all is quiet. In it, what was acknowledged stands exactly once where the answer said; what was
refused is absent; what nobody knows the outcome of is whole or absent. Its order agrees with real time and with every
expected version; every refusal has its reason; every reader's view is a prefix of it. Checkpoints move by
compare-and-set.

Not covered: streams that are truncated, deleted or erased while the history is recorded, and what is written past the
`RecordingStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from eventstore import RecordedEvent
from eventstore_conformance import append_checks, checkpoint_checks, expectation_checks, read_checks, time_checks
from eventstore_conformance.anomalies import Anomaly, AnomalyKind
from eventstore_conformance.evidence import Evidence
from eventstore_conformance.history import Record

Check: TypeAlias = Callable[[Evidence], Iterator[Anomaly]]

CHECKS: Final[Mapping[AnomalyKind, Check]] = MappingProxyType(
    {
        AnomalyKind.POSITIONS_NOT_GROWING: append_checks.positions_not_growing,
        AnomalyKind.VERSIONS_NOT_CONSECUTIVE: append_checks.versions_not_consecutive,
        AnomalyKind.LOG_AGAINST_STREAM: append_checks.log_against_stream,
        AnomalyKind.STORED_TWICE: append_checks.stored_twice,
        AnomalyKind.NEVER_SENT: append_checks.never_sent,
        AnomalyKind.LOST: append_checks.lost,
        AnomalyKind.STORED_ELSEWHERE: append_checks.stored_elsewhere,
        AnomalyKind.WRONG_ANSWER: append_checks.wrong_answer,
        AnomalyKind.PAYLOAD_CHANGED: append_checks.payload_changed,
        AnomalyKind.REFUSED_BUT_STORED: append_checks.refused_but_stored,
        AnomalyKind.STORED_IN_PART: append_checks.stored_in_part,
        AnomalyKind.EXPECTATION_IGNORED: expectation_checks.expectation_ignored,
        AnomalyKind.REFUSED_WRONGLY: expectation_checks.refused_wrongly,
        AnomalyKind.REPEAT_REFUSED: expectation_checks.repeat_refused,
        AnomalyKind.STREAM_AGAINST_TIME: time_checks.stream_against_time,
        AnomalyKind.LOG_AGAINST_TIME: time_checks.log_against_time,
        AnomalyKind.READ_MISSED: read_checks.read_missed,
        AnomalyKind.READ_TWICE: read_checks.read_twice,
        AnomalyKind.READ_OUT_OF_ORDER: read_checks.read_out_of_order,
        AnomalyKind.READ_NOT_ASKED_FOR: read_checks.read_not_asked_for,
        AnomalyKind.READ_NOT_STORED: read_checks.read_not_stored,
        AnomalyKind.READ_CHANGED: read_checks.read_changed,
        AnomalyKind.READ_BEFORE_SENT: read_checks.read_before_sent,
        AnomalyKind.CHECKPOINT_NEVER_SAVED: checkpoint_checks.checkpoint_never_saved,
        AnomalyKind.CHECKPOINT_WENT_BACK: checkpoint_checks.checkpoint_went_back,
        AnomalyKind.CHECKPOINT_MOVED_TWICE: checkpoint_checks.checkpoint_moved_twice,
        AnomalyKind.CHECKPOINT_REFUSED_WRONGLY: checkpoint_checks.checkpoint_refused_wrongly,
    }
)
"""The check for each kind of anomaly."""

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


def check(
    history: Sequence[Record],
    log: Sequence[RecordedEvent],
    *,
    versions: Mapping[str, int] = _NOTHING,
    checkpoints: Mapping[str, int] = _NOTHING,
    kinds: Collection[AnomalyKind] = tuple(AnomalyKind),
) -> list[Anomaly]:
    """Return what is wrong with a history, nothing if all is well.

    `log` is the whole log at the end, from the position on where the store was when the recording began. Where it was
    not empty then, `versions` and `checkpoints` say where its streams and checkpoints were. `kinds` leaves out what an
    engine does not promise.
    """
    evidence = Evidence(history, log, versions, checkpoints)
    return [anomaly for kind in AnomalyKind if kind in kinds for anomaly in CHECKS[kind](evidence)]

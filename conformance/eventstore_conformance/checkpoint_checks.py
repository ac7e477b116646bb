"""What must be so of checkpoints, which move by compare-and-set: a check for each kind of anomaly.

A name that was moved back on purpose is left out: it may be anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from eventstore_conformance.anomalies import Anomaly, AnomalyKind
from eventstore_conformance.evidence import Evidence
from eventstore_conformance.history import CheckpointLoad, CheckpointSave, Moved, NotMoved, Refused


class Sighting(NamedTuple):
    """Where a checkpoint was at an instant during a call."""

    record: CheckpointLoad | CheckpointSave
    position: int


class Checkpoint(NamedTuple):
    """What the history has of one name."""

    name: str
    start: int
    saves: list[CheckpointSave]
    loads: list[CheckpointLoad]

    def sightings(self) -> Iterator[Sighting]:
        """Return where the checkpoint was found: by loads, and by saves as they began."""
        for load in self.loads:
            yield Sighting(load, load.position)
        for save in self.saves:
            if isinstance(save.outcome, Moved):
                yield Sighting(save, save.expected)
            elif isinstance(save.outcome, NotMoved):
                yield Sighting(save, save.outcome.actual)

    def sightings_and_moves(self) -> Iterator[Sighting]:
        """Return where the checkpoint was found, and where it was left."""
        yield from self.sightings()
        for save in self.saves:
            if isinstance(save.outcome, Moved):
                yield Sighting(save, save.position)


def checkpoints_of(evidence: Evidence) -> list[Checkpoint]:
    """Return all checkpoints that never moved back on purpose."""
    saves: defaultdict[str, list[CheckpointSave]] = defaultdict(list)
    loads: defaultdict[str, list[CheckpointLoad]] = defaultdict(list)
    for save in evidence.saves:
        if not isinstance(save.outcome, Refused):
            saves[save.name].append(save)
    for load in evidence.loads:
        loads[load.name].append(load)
    return [
        Checkpoint(name, evidence.checkpoints.get(name, 0), saves[name], loads[name])
        for name in {**saves, **loads}
        if all(save.expected <= save.position for save in saves[name])
    ]


def checkpoint_never_saved(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a checkpoint is where it began, or where somebody saved it."""
    for checkpoint in checkpoints_of(evidence):
        for record, position in checkpoint.sightings():
            moves = [save for save in checkpoint.saves if save.position == position and not _is_conflict(save)]
            if position != checkpoint.start and not any(save.start <= record.end for save in moves):
                sentence = f"{record.worker} found {checkpoint.name!r} at {position}, where nobody had moved it"
                yield Anomaly(AnomalyKind.CHECKPOINT_NEVER_SAVED, sentence, (record,))


def checkpoint_went_back(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a checkpoint is never found below where it was left or found before."""
    for checkpoint in checkpoints_of(evidence):
        by_end = sorted(checkpoint.sightings_and_moves(), key=lambda sighting: sighting.record.end)
        by_start = sorted(checkpoint.sightings(), key=lambda sighting: sighting.record.start)
        highest: Sighting | None = None
        ended = iter([*by_end, None])
        upcoming = next(ended)
        for sighting in by_start:
            while upcoming is not None and upcoming.record.end < sighting.record.start:
                highest = upcoming if highest is None or upcoming.position > highest.position else highest
                upcoming = next(ended)
            if highest is not None and highest.position > sighting.position:
                sentence = (
                    f"{sighting.record.worker} found {checkpoint.name!r} at {sighting.position}, "
                    f"after {highest.record.worker} had known it at {highest.position}"
                )
                yield Anomaly(AnomalyKind.CHECKPOINT_WENT_BACK, sentence, (highest.record, sighting.record))


def checkpoint_moved_twice(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that from one position one save moves a checkpoint on."""
    for checkpoint in checkpoints_of(evidence):
        moved: dict[int, CheckpointSave] = {}
        for save in checkpoint.saves:
            if isinstance(save.outcome, Moved) and save.position > save.expected:
                before = moved.setdefault(save.expected, save)
                if before is not save:
                    sentence = f"{before.worker} and {save.worker} both moved {checkpoint.name!r} from {save.expected}"
                    yield Anomaly(AnomalyKind.CHECKPOINT_MOVED_TWICE, sentence, (before, save))


def checkpoint_refused_wrongly(evidence: Evidence) -> Iterator[Anomaly]:
    """Check that a save that is refused was told another position than it expected."""
    for save in evidence.saves:
        if isinstance(save.outcome, NotMoved) and save.outcome.actual == save.expected:
            sentence = f"{save.worker} expected {save.name!r} at {save.expected}, was told so, and was refused"
            yield Anomaly(AnomalyKind.CHECKPOINT_REFUSED_WRONGLY, sentence, (save,))


def _is_conflict(save: CheckpointSave) -> bool:
    return isinstance(save.outcome, NotMoved)

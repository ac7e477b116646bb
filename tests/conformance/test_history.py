"""The check of histories: it finds nothing in sound ones, and names what is wrong with damaged ones."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from eventstore_conformance.anomalies import Anomaly, AnomalyKind
from eventstore_conformance.checking import CHECKS, check
from eventstore_conformance.history import Append, LogRead
from tests.conformance.damaged_history import DAMAGES, Damage
from tests.conformance.simulated_history import Story, simulate

SEEDS = range(60)


def damaged(damage: Damage, seed: int) -> tuple[Story, UUID] | None:
    story = simulate(seed)
    try:
        shown = damage(story, random.Random(seed))
    except IndexError:
        return None
    return None if shown is None else (story, shown)


def shows(anomaly: Anomaly, wanted: UUID) -> bool:
    ids = {record.call for record in anomaly.records} | {event.event_id for event in anomaly.events}
    for record in anomaly.records:
        if isinstance(record, LogRead):
            ids |= {event.event_id for event in record.events}
        if isinstance(record, Append):
            ids |= {event.event_id for write in record.writes for event in write.events}
    return wanted in ids


@pytest.mark.parametrize("seed", range(100))
def test_a_sound_history_has_no_anomaly(seed: int) -> None:
    story = simulate(seed)
    assert check(story.history, story.log) == []


@pytest.mark.parametrize(("kind", "damage"), DAMAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_damage_is_named_and_shown_in_a_small_piece(kind: AnomalyKind, damage: Damage) -> None:
    places = [place for seed in SEEDS if (place := damaged(damage, seed)) is not None]
    assert places
    for story, shown in places:
        found = [
            anomaly for anomaly in check(story.history, story.log) if anomaly.kind is kind and shows(anomaly, shown)
        ]
        assert found
        assert all(len(anomaly.records) <= 2 and len(anomaly.events) <= 4 for anomaly in found)


@pytest.mark.parametrize("kind", AnomalyKind)
def test_each_check_is_needed(kind: AnomalyKind) -> None:
    others = [other for other in AnomalyKind if other is not kind]
    for damage in (damage for damaged_kind, damage in DAMAGES if damaged_kind is kind):
        for seed in SEEDS:
            place = damaged(damage, seed)
            if place is not None and not check(place[0].history, place[0].log, kinds=others):
                assert check(place[0].history, place[0].log)
                return
    raise AssertionError("whatever this check finds, others find too")


def test_every_kind_has_a_check() -> None:
    assert set(CHECKS) == set(AnomalyKind)

"""What is made of reports: files, badges and comparisons."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from eventstore_conformance.badge import GREEN, GREY, RED, badge
from eventstore_conformance.comparing import compare
from eventstore_conformance.fresh_stores import without_credentials
from eventstore_conformance.outcomes import Outcome, worst
from eventstore_conformance.report import (
    ClauseResult,
    Report,
    UnreadableReport,
    counted,
    read_report,
    write_report,
)

PASSED, FAILED, NOT_RUN = Outcome.PASSED, Outcome.FAILED, Outcome.NOT_RUN
NOT_CLAIMED, NOT_EXERCISED = Outcome.NOT_CLAIMED, Outcome.NOT_EXERCISED


def a_report(*capabilities: str, **outcomes: Outcome) -> Report:
    clauses = [
        ClauseResult(clause_id, "Chapter", f"test_{clause_id}", "It is so.", outcome, cases=1, seconds=0.5)
        for clause_id, outcome in outcomes.items()
    ]
    facts: dict[str, Any] = {"suite": "1.2.0", "library": "0.1.0", "backend": "Acme", "store": "acme://", "seed": 5}
    return Report(
        **facts,
        capabilities=list(capabilities),
        thorough=False,
        started_at="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        counts=counted(clauses),
        pointed_out=[],
        clauses=clauses,
    )


# --- Files -----------------------------------------------------------------------------------------------------------


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = a_report("DURABLE", A=PASSED, B=FAILED)
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    write_report(a_report(A=PASSED), tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace("{", '{"news": 1,', 1))
    assert read_report(tmp_path / "report.json") == a_report(A=PASSED)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', "no JSON"])
def test_what_is_no_report_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(UnreadableReport, match=r"other\.json is no report"):
        read_report(tmp_path / "other.json")


def test_a_report_in_a_later_format_is_refused(tmp_path: Path) -> None:
    write_report(a_report(A=PASSED), tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(UnreadableReport, match="format 2, this suite reads format 1"):
        read_report(tmp_path / "report.json")


# --- Outcomes --------------------------------------------------------------------------------------------------------


def test_a_clause_is_as_good_as_its_worst_case() -> None:
    assert worst([PASSED, NOT_CLAIMED, PASSED]) is NOT_CLAIMED
    assert worst([NOT_CLAIMED, NOT_EXERCISED, PASSED]) is NOT_EXERCISED
    assert worst([FAILED, NOT_RUN, NOT_EXERCISED]) is FAILED


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [
        ({"A": PASSED, "B": NOT_CLAIMED, "C": NOT_EXERCISED}, True),
        ({"A": PASSED, "B": FAILED}, False),
        ({"A": NOT_CLAIMED}, False),
        ({}, False),
    ],
)
def test_a_run_passed_if_something_passed_and_nothing_failed(outcomes: dict[str, Outcome], passed: bool) -> None:
    assert a_report(**outcomes).passed is passed


# --- Badges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "said", "colour"),
    [
        (a_report(A=PASSED, B=PASSED, C=NOT_CLAIMED), "1.2.0: 2 passed", GREEN),
        (a_report(A=PASSED, B=FAILED, C=NOT_RUN), "1.2.0: 1 failed", RED),
        (a_report(A=PASSED, B=NOT_RUN), "1.2.0: run in part", GREY),
        (a_report(A=NOT_CLAIMED), "1.2.0: run in part", GREY),
    ],
)
def test_a_badge_says_how_it_went(report: Report, said: str, colour: str) -> None:
    picture = badge(report)
    assert ET.fromstring(picture).get("aria-label") == f"event store conformance: {said}"
    assert re.findall('fill="(#[0-9a-f]{6})"', picture) == [colour]


# --- Comparisons -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("was", [PASSED, NOT_CLAIMED, NOT_EXERCISED, NOT_RUN, None])
def test_what_fails_and_did_not_is_a_regression(was: Outcome | None) -> None:
    before = a_report(A=PASSED, **({"B": was} if was else {}))
    comparison = compare(before, a_report(A=PASSED, B=FAILED))
    assert [clause.id for clause in comparison.newly_failing] == ["B"]
    assert comparison.has_regressions


@pytest.mark.parametrize("now", [NOT_CLAIMED, NOT_EXERCISED, NOT_RUN])
def test_what_passed_and_is_not_proved_any_more_is_a_regression(now: Outcome) -> None:
    comparison = compare(a_report(A=PASSED, B=PASSED), a_report(A=PASSED, B=now))
    assert [clause.id for clause in comparison.no_longer_passed] == ["B"]
    assert comparison.has_regressions


@pytest.mark.parametrize("was", [FAILED, NOT_CLAIMED, NOT_EXERCISED, NOT_RUN])
def test_what_passes_now_is_no_regression(was: Outcome) -> None:
    comparison = compare(a_report(A=was), a_report(A=PASSED))
    assert [clause.id for clause in comparison.newly_passing] == ["A"]
    assert not comparison.has_regressions


def test_what_still_fails_is_no_regression() -> None:
    comparison = compare(a_report(A=FAILED), a_report(A=FAILED))
    assert not comparison.changed_anything
    assert not comparison.has_regressions


def test_other_changes_are_told_apart() -> None:
    comparison = compare(
        a_report("DURABLE", A=NOT_RUN, B=FAILED, GONE=PASSED), a_report("SHARED", A=NOT_CLAIMED, B=NOT_RUN, NEW=PASSED)
    )
    assert [clause.id for clause in comparison.otherwise_changed] == ["A", "B"]
    assert [clause.id for clause in comparison.added] == ["NEW"]
    assert [clause.id for clause in comparison.removed] == ["GONE"]
    assert (comparison.capabilities_gained, comparison.capabilities_lost) == (["SHARED"], ["DURABLE"])
    assert not comparison.has_regressions


# --- Credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///app.db?synchronous=off", "sqlite:///app.db?synchronous=off"),
        ("postgresql://me:secret@host:5432/db?schema=a", "postgresql://host:5432/db?schema=a"),
        ("postgresql://me:sec/ret@host/db", "postgresql://host/db"),
        ("postgresql://host/db?user=me&password=secret&schema=a", "postgresql://host/db?user=me&"),
        ("postgresql://host/db?schema=a&sslpassword=secret", "postgresql://host/db?schema=a&ssl"),
        ("acme://token=secret@[::1]:5/{namespace}", "acme://[::1]:5/{namespace}"),
        ("acme://secret@[::1/db", "acme://[::1/db"),
        ("sqlite:////home/me@work/app.db", "sqlite:////home/me@work/app.db"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown

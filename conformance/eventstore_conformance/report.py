"""The report of a run: every clause of the contract with its outcome, as JSON that other programs may rely on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from eventstore_conformance.outcomes import Outcome

FORMAT = 1
"""Raised when a field changes its meaning or goes; fields may be added."""


class ClauseResult(msgspec.Struct, frozen=True):
    """What became of a clause: the worst outcome of its cases, and why."""

    id: str
    chapter: str
    test: str
    text: str
    outcome: Outcome
    cases: int
    seconds: float
    needs: str = ""
    """The capability that is not claimed, or the hook that is not supplied."""
    reason: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the suite on one store."""

    format: int = FORMAT
    suite: str
    """The version of the suite."""
    library: str
    """The version of eventstore-kit."""
    backend: str
    store: str
    """The URL, without credentials, or the test class that led to the store."""
    capabilities: list[str]
    seed: int
    thorough: bool
    started_at: str
    seconds: float
    counts: dict[str, int]
    pointed_out: list[str]
    """What works although it is not claimed."""
    clauses: list[ClauseResult]

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and something passed."""
        return not self.counts[Outcome.FAILED.value] and bool(self.counts[Outcome.PASSED.value])


class UnreadableReport(ValueError):
    """A file is no report that this version of the suite reads."""


def counted(clauses: Iterable[ClauseResult]) -> dict[str, int]:
    """Return the number of clauses with each outcome."""
    counts = Counter(clause.outcome for clause in clauses)
    return {outcome.value: counts[outcome] for outcome in Outcome}


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON that people may read as well."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def read_report(path: Path) -> Report:
    """Read a report. Raises `UnreadableReport`."""
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise UnreadableReport(f"{path} is no report of the conformance suite: {error}") from error
    if report.format != FORMAT:
        raise UnreadableReport(f"{path} is a report in format {report.format}, this suite reads format {FORMAT}")
    return report

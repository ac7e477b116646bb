"""A report in a few lines of plain text: what a run has not proved, and why."""

from __future__ import annotations

from collections.abc import Iterator

from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import ClauseResult, Report


def heading_of(report: Report) -> str:
    """Say what was run, and on what."""
    return f"conformance of {report.backend or 'the store'} ({report.store})"


def summary_of(report: Report) -> Iterator[str]:
    """Say how it went, and name what was not claimed, not exercised, or is pointed out."""
    capabilities = ", ".join(report.capabilities) or "no capability"
    yield f"suite {report.suite}, seed {report.seed}{', thorough' if report.thorough else ''}; claims {capabilities}"
    yield "clauses: " + ", ".join(f"{report.counts[outcome.value]} {outcome.words}" for outcome in Outcome)
    yield from unproved(report)


def unproved(report: Report) -> Iterator[str]:
    """Name what was not claimed, not exercised, or is pointed out."""
    for needs, clauses in by_needs(report, Outcome.NOT_CLAIMED).items():
        yield f"not claimed, {needs}: {', '.join(clause.id for clause in clauses)}"
    for needs, clauses in by_needs(report, Outcome.NOT_EXERCISED).items():
        yield f"not exercised, for want of the hook {needs!r}:"
        yield from (f"    {clause.id} {clause.test}" for clause in clauses)
    yield from (f"pointed out: {text}" for text in report.pointed_out)


def by_needs(report: Report, outcome: Outcome) -> dict[str, list[ClauseResult]]:
    """Return the clauses with an outcome, by what they need."""
    found: dict[str, list[ClauseResult]] = {}
    for clause in report.clauses:
        if clause.outcome is outcome:
            found.setdefault(clause.needs, []).append(clause)
    return found

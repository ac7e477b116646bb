"""The end of a session in a few lines: what a run has not proved, and why."""

from __future__ import annotations

from collections.abc import Iterator

from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import Report
from eventstore_conformance.results import StoreResults


def summary_of(results: StoreResults, report: Report) -> Iterator[str]:
    """Say what was run, and name what was not claimed, not exercised, or is pointed out."""
    capabilities = ", ".join(report.capabilities) or "no capability"
    yield f"suite {report.suite}, seed {report.seed}{', thorough' if report.thorough else ''}; claims {capabilities}"
    yield "clauses: " + ", ".join(f"{report.counts[outcome.value]} {outcome.words}" for outcome in Outcome)
    tests = {clause.id: clause.test for clause in report.clauses}
    for (outcome, needs), clause_ids in sorted(results.needs.items(), key=lambda entry: entry[0][0].value):
        if outcome is Outcome.NOT_CLAIMED:
            yield f"{outcome.words}, {needs}: {', '.join(sorted(clause_ids))}"
        else:
            yield f"{outcome.words}, for want of the hook {needs!r}:"
            yield from (f"    {clause_id} {tests[clause_id]}" for clause_id in sorted(clause_ids))
    yield from (f"pointed out: {text}" for text in report.pointed_out)

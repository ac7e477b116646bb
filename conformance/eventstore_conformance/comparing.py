"""What changed between two reports."""

from __future__ import annotations

from dataclasses import dataclass, fields

from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import ClauseResult, Report


@dataclass(frozen=True)
class Comparison:
    """The differences; a regression is a clause that fails now and did not, or that passed and does not any more."""

    newly_failing: list[ClauseResult]
    no_longer_passed: list[ClauseResult]
    newly_passing: list[ClauseResult]
    otherwise_changed: list[ClauseResult]
    added: list[ClauseResult]
    removed: list[ClauseResult]
    capabilities_gained: list[str]
    capabilities_lost: list[str]

    @property
    def has_regressions(self) -> bool:
        """Whether anything became worse."""
        return bool(self.newly_failing or self.no_longer_passed)

    @property
    def changed_anything(self) -> bool:
        """Whether there is any difference."""
        return any(getattr(self, difference.name) for difference in fields(self))


def compare(before: Report, after: Report) -> Comparison:
    """Compare two reports, each clause as it is after; removed ones as they were before."""
    old = {clause.id: clause for clause in before.clauses}
    new = {clause.id: clause for clause in after.clauses}
    changed = [
        (old[clause_id].outcome, clause)
        for clause_id, clause in new.items()
        if clause_id in old and old[clause_id].outcome is not clause.outcome
    ]
    added = [clause for clause_id, clause in new.items() if clause_id not in old]
    failing = [clause for _, clause in changed if clause.outcome is Outcome.FAILED]
    others = [(was, clause) for was, clause in changed if clause.outcome is not Outcome.FAILED]
    return Comparison(
        newly_failing=failing + [clause for clause in added if clause.outcome is Outcome.FAILED],
        no_longer_passed=[clause for was, clause in others if was is Outcome.PASSED],
        newly_passing=[clause for _, clause in others if clause.outcome is Outcome.PASSED],
        otherwise_changed=[
            clause for was, clause in others if was is not Outcome.PASSED and clause.outcome is not Outcome.PASSED
        ],
        added=added,
        removed=[clause for clause_id, clause in old.items() if clause_id not in new],
        capabilities_gained=sorted(set(after.capabilities) - set(before.capabilities)),
        capabilities_lost=sorted(set(before.capabilities) - set(after.capabilities)),
    )

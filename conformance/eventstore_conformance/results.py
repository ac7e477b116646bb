"""What a pytest session tells of the clauses: collected item by item, and made into reports."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TypedDict

import pytest

from eventstore import EventStore
from eventstore_conformance import __version__
from eventstore_conformance.clauses import Clause, all_clauses
from eventstore_conformance.effort import EFFORT
from eventstore_conformance.outcomes import NotClaimed, NotExercised, Outcome, worst
from eventstore_conformance.report import ClauseResult, Report, counted


class Finding(TypedDict):
    """What one phase of one test item says of its clause; plain data, since it travels between processes."""

    store_class: str
    clause_id: str
    outcome: str
    reason: str
    needs: str
    pointed_out: str
    backend: str
    capabilities: list[str]


def finding_of(item: pytest.Function, call: pytest.CallInfo[None], report: pytest.TestReport) -> Finding:
    """Return what a phase of an item says of its clause."""
    left = call.excinfo.value if call.excinfo else None
    unproved = left if isinstance(left, (NotClaimed, NotExercised)) else None
    stores = [value for value in item.funcargs.values() if isinstance(value, EventStore)]
    return Finding(
        store_class=f"{item.cls.__module__}.{item.cls.__qualname__}" if item.cls else "",
        clause_id=clause_id_of(item),
        outcome=(unproved.outcome if unproved else plain_outcome(report)).value,
        reason=str(unproved) if unproved else reason_of(report),
        needs=unproved.needs if unproved else "",
        pointed_out=unproved.pointed_out if unproved else "",
        backend=engine_of(stores[0]) if stores else "",
        capabilities=sorted(capability.name for capability in stores[0].capabilities) if stores else [],
    )


def clause_id_of(item: pytest.Function) -> str:
    """Return the id that the docstring of a test begins with."""
    return (item.function.__doc__ or "").partition(":")[0]


def plain_outcome(report: pytest.TestReport) -> Outcome:
    """Return the outcome of what pytest reports. What an author marks as an expected failure has failed."""
    if report.failed or (report.skipped and hasattr(report, "wasxfail")):
        return Outcome.FAILED
    return Outcome.NOT_RUN if report.skipped else Outcome.PASSED


def reason_of(report: pytest.TestReport) -> str:
    """Return in a line why a test did not pass."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash else str(report.longrepr or "")
    return next(iter(said.splitlines()), "")[:300]


def engine_of(store: EventStore) -> str:
    """Return the engine's name, as the store shows it."""
    return repr(store).removeprefix("<EventStore on ").removesuffix(">")


@dataclass
class Tally:
    """What is known of one clause on one store."""

    outcomes: list[Outcome] = field(default_factory=list)
    items: set[str] = field(default_factory=set)
    seconds: float = 0.0
    findings: dict[Outcome, Finding] = field(default_factory=dict)
    """The first of each outcome."""

    def add(self, finding: Finding, report: pytest.TestReport) -> None:
        """Take in a phase of an item."""
        outcome = Outcome(finding["outcome"])
        self.outcomes.append(outcome)
        self.items.add(report.nodeid)
        self.seconds += report.duration
        self.findings.setdefault(outcome, finding)

    def result(self, clause: Clause) -> ClauseResult:
        """Return the result: the worst of all cases, and a reason for that."""
        outcome = worst(self.outcomes) if self.outcomes else Outcome.NOT_RUN
        finding = self.findings.get(outcome)
        return ClauseResult(
            **clause._asdict(),
            outcome=outcome,
            cases=len(self.items),
            seconds=round(self.seconds, 3),
            needs=finding["needs"] if finding else "",
            reason=finding["reason"] if finding else "",
        )


@dataclass
class StoreResults:
    """What is known of one store."""

    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    backend: str = ""
    capabilities: list[str] = field(default_factory=list)
    pointed_out: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """The traceback of the first failure of each clause."""

    def add(self, finding: Finding, report: pytest.TestReport) -> None:
        """Take in a phase of an item."""
        clause_id = finding["clause_id"]
        self.tallies[clause_id].add(finding, report)
        if report.failed:
            self.failures.setdefault(clause_id, report.longreprtext)
        if finding["pointed_out"]:
            self.pointed_out[clause_id] = finding["pointed_out"]
        if finding["backend"]:
            self.backend, self.capabilities = finding["backend"], finding["capabilities"]


class Results:
    """What is known of all stores of a session."""

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self.stores: defaultdict[str, StoreResults] = defaultdict(StoreResults)

    def add(self, finding: Finding, report: pytest.TestReport) -> None:
        """Take in a phase of an item."""
        self.stores[finding["store_class"]].add(finding, report)

    def reports(self, store_url: str | None = None) -> list[Report]:
        """Return a report for each store; `store_url` names the store where there is no test class of its own."""
        return [self._report(store_url or name, results) for name, results in self.stores.items()]

    def _report(self, store: str, results: StoreResults) -> Report:
        clauses = [results.tallies.get(clause.id, Tally()).result(clause) for clause in all_clauses()]
        return Report(
            suite=__version__,
            library=version("eventstore-kit"),
            backend=results.backend,
            store=store,
            capabilities=results.capabilities,
            seed=EFFORT.seed,
            thorough=EFFORT.thorough,
            started_at=self.started_at.isoformat(timespec="seconds"),
            seconds=round(sum(clause.seconds for clause in clauses), 3),
            counts=counted(clauses),
            pointed_out=[f"{clause_id}: {text}" for clause_id, text in results.pointed_out.items()],
            clauses=clauses,
        )

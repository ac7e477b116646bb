"""Reports as people read them in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from eventstore_conformance.comparing import Comparison
from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import ClauseResult, Report
from eventstore_conformance.summary import heading_of, unproved

ALWAYS_SHOWN: Final = (Outcome.PASSED, Outcome.FAILED)

STYLES: Final = {
    Outcome.PASSED: "green",
    Outcome.NOT_CLAIMED: "",
    Outcome.NOT_EXERCISED: "yellow",
    Outcome.NOT_RUN: "dim",
    Outcome.FAILED: "red",
}


def show_report(console: Console, report: Report) -> None:
    """Show a table of the chapters that were run, and what was not proved."""
    claims = ", ".join(report.capabilities) or "no capability"
    thorough = ", thorough" if report.thorough else ""
    console.print(escape(heading_of(report)), style="bold")
    console.print(
        f"suite {report.suite}, eventstore-kit {report.library}, seed {report.seed}{thorough}; claims {claims}"
    )
    outcomes = [outcome for outcome in Outcome if outcome in ALWAYS_SHOWN or report.counts[outcome.value]]
    table = Table("chapter", *(outcome.words for outcome in outcomes), "seconds", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for chapter in dict.fromkeys(clause.chapter for clause in report.clauses):
        clauses = [clause for clause in report.clauses if clause.chapter == chapter]
        if any(clause.outcome is not Outcome.NOT_RUN for clause in clauses):
            table.add_row(*row(chapter, clauses, outcomes))
    table.add_section()
    table.add_row(*row("all", report.clauses, outcomes), style="bold")
    console.print(table)
    for line in unproved(report):
        console.print(escape(line))


def row(name: str, clauses: list[ClauseResult], outcomes: list[Outcome]) -> list[str]:
    """Return a row of the table: how many clauses have which outcome."""
    counts = Counter(clause.outcome for clause in clauses)
    cells = [cell(counts[outcome], STYLES[outcome]) for outcome in outcomes]
    return [name, *cells, f"{sum(clause.seconds for clause in clauses):.1f}"]


def cell(count: int, style: str) -> str:
    """Return a number in its colour; a dash for none."""
    if not count:
        return "-"
    return f"[{style}]{count}[/]" if style else str(count)


def show_failures(console: Console, report: Report, failures: Mapping[str, str]) -> None:
    """Show each clause that failed: what it demands, why it failed, and how to see it again."""
    for clause in report.clauses:
        if clause.outcome is Outcome.FAILED:
            console.print(Rule(f"{clause.id} failed", style="red"))
            console.print(escape(clause.text), style="bold")
            console.print(escape(failures.get(clause.id, clause.reason)))
            chapter = clause.id.partition("-")[0].lower()
            console.print(f"again: --chapter {chapter} --seed {report.seed}", style="dim")


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Show what changed between two reports."""
    groups = {
        "newly failing": (comparison.newly_failing, "red"),
        "no longer passed": (comparison.no_longer_passed, "red"),
        "newly passing": (comparison.newly_passing, "green"),
        "otherwise changed": (comparison.otherwise_changed, ""),
        "new in the suite": (comparison.added, ""),
        "gone from the suite": (comparison.removed, ""),
    }
    for title, (clauses, style) in groups.items():
        if clauses:
            console.print(f"{title}:", style=style or None)
        for clause in clauses:
            console.print(escape(f"    {clause.id} {clause.test}: {clause.reason or clause.outcome.words}"))
    for title, capabilities in (
        ("capabilities gained", comparison.capabilities_gained),
        ("capabilities lost", comparison.capabilities_lost),
    ):
        if capabilities:
            console.print(f"{title}: {', '.join(capabilities)}")
    if not comparison.changed_anything:
        console.print("nothing changed")

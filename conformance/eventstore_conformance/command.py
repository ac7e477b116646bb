"""`eventstore conform`: the suite on a store, and what its reports say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

# The suite needs both: whoever lacks one is told so before anything is run.
import hypothesis  # noqa: F401
import pytest_asyncio  # noqa: F401
from rich.console import Console

from eventstore_conformance.badge import badge
from eventstore_conformance.comparing import compare
from eventstore_conformance.report import Report, UnreadableReport, read_report, write_report
from eventstore_conformance.running import NothingRun, run
from eventstore_conformance.tables import show_comparison, show_failures, show_report

FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("url", required=False)
@click.option("--report", type=FILE, help="Write the report as JSON.")
@click.option("--badge", "badge_file", type=FILE, help="Write a badge of the result as SVG.")
@click.option("--chapter", "chapters", multiple=True, help="Run this chapter only, by title or id prefix.")
@click.option("--thorough", is_flag=True, help="Try many more random examples.")
@click.option("--seed", type=int, help="Repeat the random choices of the run with this seed.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Run in so many processes; needs pytest-xdist.")
@click.option("--keep-stores", is_flag=True, help="Do not remove the stores that the run makes.")
@click.option("--show", type=FILE, metavar="REPORT", help="Show a report that was written earlier; run nothing.")
@click.option("--compare", "compared", type=FILE, nargs=2, metavar="OLD NEW", help="Show what changed; run nothing.")
def conform(
    url: str | None,
    report: Path | None,
    badge_file: Path | None,
    chapters: tuple[str, ...],
    thorough: bool,
    seed: int | None,
    jobs: int,
    keep_stores: bool,
    show: Path | None,
    compared: tuple[Path, Path] | None,
) -> None:
    """Run the conformance suite on stores of its own beside URL.

    \b
    eventstore conform memory://
    eventstore conform sqlite:///conformance.db --report report.json
    eventstore conform postgresql://localhost/test --badge badge.svg
    eventstore conform 'redis://localhost/{namespace}'

    What the URL leads to is not touched: every test has a schema, a file or a database of its own, which is removed
    afterwards. With a backend that does not say how to make one, {namespace} must stand in the URL where it names
    what holds a store.

    Exits with 0 if no clause failed, with 1 if one did (or became worse, with --compare), with 2 if nothing was run.
    """
    console = Console(soft_wrap=True, highlight=False)
    if sum(given is not None for given in (url, show, compared)) != 1:
        raise click.UsageError("give the URL of a store; or --show REPORT; or --compare OLD NEW")
    if compared is not None:
        comparison = compare(read(compared[0]), read(compared[1]))
        show_comparison(console, comparison)
        sys.exit(comparison.has_regressions)
    failures: dict[str, str] = {}
    if show is not None:
        result = read(show)
    else:
        assert url is not None
        try:
            result, failures = run(
                url, chapters=chapters, thorough=thorough, seed=seed, jobs=jobs, keep_stores=keep_stores
            )
        except NothingRun as error:
            console.stderr = True
            console.print(str(error), style="red")
            sys.exit(2)
    if report is not None:
        write_report(result, report)
    if badge_file is not None:
        badge_file.write_text(badge(result), "utf-8")
    show_failures(console, result, failures)
    show_report(console, result)
    sys.exit(not result.passed)


def read(path: Path) -> Report:
    """Read a report."""
    try:
        return read_report(path)
    except UnreadableReport as error:
        raise click.ClickException(str(error)) from error

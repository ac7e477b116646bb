"""The pytest plugin: the options, the outcomes shown apart, the seed, and the report.

pytest loads it wherever this package is installed, so it imports nothing else of it before a test of the suite runs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import pytest

from eventstore_conformance.effort import EFFORT, new_seed

if TYPE_CHECKING:
    from eventstore_conformance.report import Report
    from eventstore_conformance.results import Results

SHOWN = {"not_claimed": ("not claimed", "-", "NOT CLAIMED"), "not_exercised": ("not exercised", "o", "NOT EXERCISED")}
"""The outcomes that pytest does not have: the category, a letter, and a word for `-v`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("eventstore conformance")
    group.addoption("--store-url", metavar="URL", help="run the suite on stores of its own beside this one")
    group.addoption("--keep-stores", action="store_true", help="do not remove the stores that --store-url made")
    group.addoption("--conformance-report", metavar="FILE", type=Path, help="write the report as JSON")
    group.addoption("--conformance-seed", metavar="N", type=int, help="repeat the random choices of the run with it")
    group.addoption("--conformance-thorough", action="store_true", help="try many more random examples")
    group.addoption(
        "--conformance-chapter", metavar="NAME", action="append", help="run this chapter only, by title or id prefix"
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Decide the effort before a conftest.py may import a chapter."""
    options = early_config.known_args_namespace
    EFFORT.seed = new_seed() if options.conformance_seed is None else options.conformance_seed
    EFFORT.thorough = options.conformance_thorough


def pytest_configure(config: pytest.Config) -> None:
    """Start collecting results; pass the seed on to the processes of pytest-xdist."""
    config.option.conformance_seed = EFFORT.seed
    config.pluginmanager.register(Session(config), "eventstore conformance session")


def is_clause(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Tell whether an item is a test of the suite, not one that an author has added or put in its place."""
    chapter = sys.modules.get("eventstore_conformance.chapter")
    return (
        chapter is not None
        and isinstance(item, pytest.Function)
        and item.cls is not None
        and issubclass(item.cls, chapter.Chapter)
        and item.function.__module__.startswith("eventstore_conformance.")
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test its seed."""
    if is_clause(item) and getattr(item.function, "is_hypothesis_test", False):
        from hypothesis import seed

        from eventstore_conformance.results import clause_id_of

        seed(EFFORT.seed_of(clause_id_of(item)))(item.function)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what became of a clause; as plain data, so that it travels between the processes of pytest-xdist."""
    report = yield
    if is_clause(item):
        from eventstore_conformance.results import finding_of

        finding = finding_of(item, call, report)
        report.conformance = finding  # type: ignore[attr-defined]
        if report.failed:
            report.sections.append(("conformance", f"{finding['clause_id']}; replay: --conformance-seed {EFFORT.seed}"))
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Show what was not claimed or not exercised apart from what was skipped."""
    finding = getattr(report, "conformance", None)
    return SHOWN.get(finding["outcome"]) if finding and report.skipped else None


class Session:
    """One run of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.results: Results | None = None

    def pytest_report_header(self) -> str | None:
        """Show the seed at once where the whole run is the suite's."""
        return f"conformance seed: {EFFORT.seed}" if self.config.getoption("store_url") else None

    def pytest_sessionstart(self) -> None:
        """Refuse a URL that does not lead to fresh stores."""
        url = self.config.getoption("store_url")
        if url and not hasattr(self.config, "workerinput"):
            from eventstore_conformance.fresh_stores import UnusableUrl, check_url

            try:
                asyncio.run(check_url(url))
            except UnusableUrl as error:
                raise pytest.UsageError(str(error)) from error

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose chapters; say what is missing."""
        if not self.config.getoption("store_url") and any(
            is_clause(item) and item.cls.__module__ == "eventstore_conformance.test_store" for item in items
        ):
            raise pytest.UsageError("--store-url URL is missing: the store that the suite is to run on")
        chosen = self.config.getoption("conformance_chapter")
        if chosen:
            from eventstore_conformance.choosing import chosen_ids
            from eventstore_conformance.results import clause_id_of

            ids = chosen_ids(chosen)
            others = [item for item in items if is_clause(item) and clause_id_of(item) not in ids]
            self.config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if item not in others]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take in a phase of an item, from this process or another."""
        finding = getattr(report, "conformance", None)
        if finding:
            if self.results is None:
                from eventstore_conformance.results import Results

                self.results = Results()
            self.results.add(finding, report)

    def reports(self) -> list[Report]:
        """Return a report for each store that tests have run on."""
        from eventstore_conformance.fresh_stores import without_credentials

        url = self.config.getoption("store_url")
        return self.results.reports(url and without_credentials(url)) if self.results else []

    def failures(self) -> dict[str, str]:
        """Return the traceback of each clause that failed."""
        stores = self.results.stores.values() if self.results else ()
        return {clause_id: text for store in stores for clause_id, text in store.failures.items()}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the report; with several test classes one for each, their names added to the file's."""
        path: Path | None = self.config.getoption("conformance_report")
        if path and not hasattr(self.config, "workerinput"):
            from eventstore_conformance.report import write_report

            reports = self.reports()
            for report in reports:
                name = report.store.rpartition(".")[2]
                write_report(report, path if len(reports) == 1 else path.with_stem(f"{path.stem}-{name}"))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was not claimed, what not exercised, and what is pointed out."""
        if self.results is not None:
            from eventstore_conformance.summary import heading_of, summary_of

            for report in self.reports():
                terminalreporter.section(heading_of(report))
                for line in summary_of(report):
                    terminalreporter.write_line(line)

"""One run of the suite from inside a program, without a test file and without pytest's own output."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eventstore_conformance.report import Report

if TYPE_CHECKING:
    from eventstore_conformance.plugin import Session

SETTINGS: Final = (
    # The settings of a project that may stand in the folder are none of the suite's business.
    *("-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:terminal"),
    *("-o", "asyncio_default_fixture_loop_scope=function"),
    *("--pyargs", "eventstore_conformance"),
)


class NothingRun(Exception):
    """The suite could not be run."""


def run(
    url: str,
    *,
    chapters: Sequence[str] = (),
    thorough: bool = False,
    seed: int | None = None,
    jobs: int = 1,
    keep_stores: bool = False,
) -> tuple[Report, dict[str, str]]:
    """Run the suite on stores beside a URL; return the report, and the traceback of each clause that failed.

    The arguments are the options of `eventstore conform`. Raises `NothingRun`, having changed nothing.
    """
    if jobs > 1 and not find_spec("xdist"):
        raise NothingRun("--jobs needs pytest-xdist: run pip install pytest-xdist")
    arguments = [*SETTINGS, f"--store-url={url}", *(f"--conformance-chapter={chapter}" for chapter in chapters)]
    arguments += ["--conformance-thorough"] * thorough + ["--keep-stores"] * keep_stores
    arguments += [f"--conformance-seed={seed}"] if seed is not None else []
    arguments += [f"--numprocesses={jobs}"] if jobs > 1 else []
    progress = ShownProgress()
    with TemporaryDirectory() as storage:
        # Where Hypothesis keeps things; otherwise in the folder that the command happens to be run in.
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", storage)
        status = pytest.main(arguments, plugins=[progress])
    if progress.report is None:
        # pytest has said what was wrong.
        raise NothingRun(f"nothing was run ({pytest.ExitCode(status).name.lower().replace('_', ' ')})")
    return progress.report, progress.failures


class ShownProgress:
    """A plugin that shows how far the run is, and keeps its report."""

    def __init__(self) -> None:
        # pytest captures what is written while tests run.
        terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=terminal),
            transient=True,
            disable=not terminal.isatty(),
        )
        self._task = self._progress.add_task("conformance", total=None)
        self.report: Report | None = None
        self.failures: dict[str, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin."""
        self._progress.update(self._task, total=len(session.items) or None)
        self._progress.start()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Go on by one."""
        if report.when == "teardown":
            self._progress.advance(self._task)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep the report."""
        self._progress.stop()
        conformance = cast("Session", session.config.pluginmanager.getplugin("eventstore conformance session"))
        for self.report in conformance.reports():
            pass
        self.failures = conformance.failures()

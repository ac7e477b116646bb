"""Running the suite on stores, many in one process, and noting which tests fail."""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import Phase, settings

from eventstore_conformance import CHAPTERS, stateful
from eventstore_conformance.chapter import Chapter, MakeStore
from tests.conformance.mutants import collected

TESTS: Final[dict[str, Callable[..., Any]]] = {
    (test.__doc__ or "").partition(":")[0]: test
    for chapter in CHAPTERS
    for name, test in vars(chapter).items()
    if name.startswith("test_")
}
"""Every test of the suite by its id."""

_IDS: Final = {test.__name__: test_id for test_id, test in TESTS.items()}

LONGEST: Final = 10
"""How many seconds a test may take: some mutants wait for ever, or turn in circles."""

# A mutant is caught by the first example that fails; nobody reads the smallest one.
_FEW_EXAMPLES: Final = {"max_examples": 15, "phases": [Phase.generate], "database": None}

OPTIONS: Final = (
    "--quiet",
    "--tb=no",
    "--assert=plain",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:pytest_cov",
)


def failures(stores: Mapping[str, Callable[[], MakeStore]], test_ids: Collection[str]) -> dict[str, dict[str, float]]:
    """Run tests on stores of several kinds; return by name the ids of those that failed, with their seconds.

    `stores` are by name; what is found there is called for each test, and returns what makes the stores of that test.
    """
    outcomes = _Outcomes()
    suites = {f"Test{number}": _suite(make, test_ids) for number, make in enumerate(stores.values())}
    output = io.StringIO()
    with (
        patch.multiple(collected, create=True, **suites),
        _few_examples(),
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        # The settings are those that a third party has: none.
        pytest.main([*OPTIONS, "-c", "/dev/null", f"--rootdir={Path.cwd()}", collected.__file__], plugins=[outcomes])
    assert outcomes.ran == len(stores) * len(test_ids), output.getvalue()
    return {name: outcomes.failed.get(suite, {}) for name, suite in zip(stores, suites, strict=True)}


def _suite(make: Callable[[], MakeStore], test_ids: Collection[str]) -> type[Chapter]:
    @pytest.fixture
    def make_store(self: Chapter) -> MakeStore:
        return make()

    tests = {TESTS[test_id].__name__: TESTS[test_id] for test_id in test_ids}
    return type("Suite", (Chapter,), {"make_store": make_store, **tests})


class TookTooLong(Exception):
    """A test did not end by itself."""


class _Outcomes:
    """A plugin that notes what failed, and ends what does not end by itself."""

    def __init__(self) -> None:
        self.failed: dict[str, dict[str, float]] = {}
        self._seen: set[tuple[str, str]] = set()

    @property
    def ran(self) -> int:
        return len(self._seen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, suite, test = report.nodeid.partition("[")[0].rsplit("::", 2)
        self._seen.add((suite, test))
        if report.failed:
            failed = self.failed.setdefault(suite, {})
            failed[_IDS[test]] = failed.get(_IDS[test], 0) + report.duration

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        previous = signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, LONGEST)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TookTooLong


@contextmanager
def _few_examples() -> Iterator[None]:
    attribute = "_hypothesis_internal_use_settings"
    with pytest.MonkeyPatch.context() as context:
        context.setattr(stateful, "machine_settings", settings(stateful.machine_settings, **_FEW_EXAMPLES))
        for test in TESTS.values():
            if hasattr(test, attribute):
                context.setattr(test, attribute, settings(getattr(test, attribute), **_FEW_EXAMPLES))
        yield


if __name__ == "__main__":
    import sys
    from functools import partial

    from tests.conformance.mutants.declaring import stores_of
    from tests.conformance.mutants.gallery import GALLERY

    chosen = [m for m in GALLERY if len(sys.argv) < 2 or m.module in sys.argv[1:] or m.broken.__name__ in sys.argv[1:]]
    tests = list(TESTS)
    for mutant in chosen:
        t = time.perf_counter()
        found = failures({mutant.name: partial(stores_of, mutant.broken)}, tests)[mutant.name]
        slow = {k: round(v, 1) for k, v in found.items() if v > 1}
        mark = "" if set(mutant.caught_by) & set(found) else "SURVIVES "
        if set(mutant.caught_by) - set(found):
            mark += f"NOT BY {set(mutant.caught_by) - set(found)} "
        print(
            f"{mark}{mutant.broken.__name__} {time.perf_counter() - t:.1f}s {len(found)} {' '.join(found)} {slow or ''}",
            flush=True,
        )

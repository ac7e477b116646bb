"""Running tests of the suite on mutants, many in one process, and noting which fail.

`python -m tests.conformance.mutants.matrix NAME…` runs all tests on the mutants named; without a name, each mutant has
those run that must catch it. It prints what failed as JSON.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import Phase, settings

from eventstore_conformance import CHAPTERS, stateful
from eventstore_conformance.chapter import Chapter, MakeStore
from eventstore_memory import MemoryBackend
from tests.conformance.mutants import collected
from tests.conformance.mutants.declaring import Mutant, stores_of
from tests.conformance.mutants.gallery import GALLERY
from tests.conformance.mutants.sound import SOUND
from tests.conformance.mutants.worlds import HOOKS, InAFile, InPostgres, Remote

TESTS: Final[dict[str, Callable[..., Any]]] = {
    (test.__doc__ or "").partition(":")[0]: test
    for chapter in CHAPTERS
    for name, test in vars(chapter).items()
    if name.startswith("test_")
}
"""Every test of the suite by its id."""

_IDS: Final = {test.__name__: test_id for test_id, test in TESTS.items()}

ALL_SOUND: Final[tuple[type[Any], ...]] = (*SOUND, Remote, InAFile, InPostgres)
"""On these no test may fail."""

SOUND_WITHOUT_SUITES: Final[tuple[type[Any], ...]] = tuple(
    sound for sound in ALL_SOUND if sound not in (MemoryBackend, InAFile, InPostgres)
)
"""Those on which the whole suite is not run anyway."""

LONGEST: Final = 5
"""How many seconds a test may take."""

LONGEST_IN_MEMORY: Final = 1.5
"""How many one may take on a mutant without a server: some wait for ever, or turn in circles."""

OPTIONS: Final = (
    *("--quiet", "--tb=no", "--assert=plain", "--conformance-seed=1"),
    *("-c", os.devnull, "-o", "asyncio_default_fixture_loop_scope=function"),
    *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:pytest_cov"),
)
"""The settings are those that a third party has: none."""


def failures(runs: Mapping[str, tuple[Callable[[], MakeStore], Collection[str]]]) -> dict[str, list[str]]:
    """Run tests on stores; return by name the ids of those that failed.

    Each run has what is called for each of its tests, to return what makes the stores of that test, and the ids.
    """
    outcomes = _Outcomes()
    suites = {f"Test{number}": _suite(make, ids) for number, (make, ids) in enumerate(runs.values())}
    output = io.StringIO()
    parts: Any = {"create": True, **suites}
    with patch.multiple(collected, **parts), _few_examples(), redirect_stdout(output), redirect_stderr(output):
        pytest.main([*OPTIONS, f"--rootdir={Path.cwd()}", collected.__file__], plugins=[outcomes])
    if outcomes.ran != sum(len(ids) for _, ids in runs.values()):
        raise RuntimeError(output.getvalue())
    return {name: sorted(outcomes.failed.get(suite, ())) for name, suite in zip(runs, suites, strict=True)}


def _suite(make: Callable[[], MakeStore], test_ids: Collection[str]) -> type[Chapter]:
    @pytest.fixture
    def make_store(self: Chapter) -> MakeStore:
        return make()

    hooks = {name: _hook(name) for name in HOOKS if hasattr(make(), name)}
    tests = {TESTS[test_id].__name__: TESTS[test_id] for test_id in test_ids}
    longest = LONGEST_IN_MEMORY if isinstance(make(), partial) else LONGEST
    return type("Suite", (Chapter,), {"make_store": make_store, "longest": longest, **hooks, **tests})


def _hook(name: str) -> Any:
    """Return the fixture by which a world supplies a hook."""

    @pytest.fixture(name=name)
    def hook(self: Chapter, make_store: MakeStore) -> Any:
        return getattr(make_store, name)

    return hook


class TookTooLong(Exception):
    """A test did not end by itself."""


class _Outcomes:
    """A plugin that notes what failed, and ends what does not end by itself."""

    def __init__(self) -> None:
        self.failed: dict[str, set[str]] = {}
        self._seen: set[tuple[str, str]] = set()

    @property
    def ran(self) -> int:
        return len(self._seen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, suite, test = report.nodeid.partition("[")[0].rsplit("::", 2)
        self._seen.add((suite, test))
        if report.failed:
            self.failed.setdefault(suite, set()).add(_IDS[test])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        previous = signal.signal(signal.SIGALRM, _give_up)
        # Again and again, since what turns in circles may also have to be ended when its loop is closed.
        suite: Any = item.getparent(pytest.Class)
        longest = suite.cls.longest
        signal.setitimer(signal.ITIMER_REAL, longest, longest)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TookTooLong


@contextmanager
def _few_examples() -> Iterator[None]:
    """A mutant is caught by the first example that fails; nobody reads the smallest one."""
    attribute = "_hypothesis_internal_use_settings"
    with pytest.MonkeyPatch.context() as context:
        context.setattr(stateful, "machine_settings", _few(stateful.machine_settings))
        for test in TESTS.values():
            if hasattr(test, attribute):
                context.setattr(test, attribute, _few(getattr(test, attribute)))
        yield


def _few(usual: settings) -> settings:
    return settings(usual, max_examples=15, phases=[Phase.generate], database=None)


def tests_for(mutant: Mutant) -> list[str]:
    """Return the tests that a mutant meets: all, or in Postgres, where it takes its time, its own chapters."""
    prefixes = {test_id.partition("-")[0] for test_id in mutant.caught_by}
    in_postgres = isinstance(mutant.broken, type) and issubclass(mutant.broken, InPostgres)
    return [test_id for test_id in TESTS if not in_postgres or test_id.partition("-")[0] in prefixes]


def main(names: list[str]) -> None:
    """Print what failed as JSON."""
    runs: dict[str, tuple[Callable[[], MakeStore], Collection[str]]] = {}
    for mutant in GALLERY:
        if not names or mutant.name in names:
            runs[mutant.name] = (mutant.stores, tests_for(mutant) if names else mutant.caught_by)
    declared = {test_id for mutant in GALLERY for test_id in mutant.caught_by}
    for sound in ALL_SOUND if names else SOUND_WITHOUT_SUITES:
        if not names or sound.__name__ in names:
            runs[sound.__name__] = (partial(stores_of, sound), TESTS if names else declared)
    sys.stdout.write(msgspec.json.encode(failures(runs)).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

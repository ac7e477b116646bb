"""The suite catches every mutant by each of the tests that it names, and fails on no sound store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.conformance.mutants.gallery import GALLERY
from tests.conformance.mutants.matrix import SOUND_WITHOUT_SUITES, TESTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mutants.md"


@pytest.fixture(scope="module")
def failed(postgres_server: str) -> dict[str, list[str]]:
    """What failed on each store; in a process of its own, since a mutant may do anything."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.mutants.matrix"],
        env=os.environ | {"EVENTSTORE_TEST_POSTGRES_URL": postgres_server},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=dict[str, list[str]])


def test_every_mutant_is_caught_by_each_test_that_it_names(failed: dict[str, list[str]]) -> None:
    missed = {mutant.name: set(mutant.caught_by) - set(failed[mutant.name]) for mutant in GALLERY}
    assert {name: tests for name, tests in missed.items() if tests} == {}


def test_no_test_fails_on_the_sound_stores_that_mutants_are_made_of(failed: dict[str, list[str]]) -> None:
    assert {sound.__name__: tests for sound in SOUND_WITHOUT_SUITES if (tests := failed[sound.__name__])} == {}


def test_every_mutant_names_tests_that_there_are() -> None:
    assert [mutant.name for mutant in GALLERY if not mutant.caught_by] == []
    assert {test_id for mutant in GALLERY for test_id in mutant.caught_by} <= TESTS.keys()


def test_every_mutant_has_a_name_of_its_own_and_says_what_it_models() -> None:
    assert [name for name, number in Counter(mutant.name for mutant in GALLERY).items() if number > 1] == []
    assert [mutant.name for mutant in GALLERY if not mutant.failure.endswith(".")] == []
    assert len(GALLERY) >= 40


def test_the_page_lists_the_gallery() -> None:
    rows = re.findall(r"^\| (\w+) \| (.*) \| ([A-Z].*) \|$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    listed = [(name, failure) for name, failure, _ in rows if not re.fullmatch(r"[A-Z]+-\d\d", name)]
    assert listed == [(mutant.name, mutant.failure) for mutant in GALLERY], "run: nox -s mutants"

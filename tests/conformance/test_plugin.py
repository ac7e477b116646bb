"""The suite in an author's own test file, and by `pytest --pyargs`: what pytest shows and writes down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import read_report
from tests.conformance.third_party import ThirdParty

TEST_FILE = """
import pytest
from eventstore_conformance.checkpoints import Checkpoints
from eventstore_conformance.opening import Opening

class TestMemory(Opening):
    @pytest.fixture
    def store_url(self):
        return "memory://"

    def test_something_else(self):
        pass

    def test_of_an_author(self):
        pytest.skip("not today")

class TestForgetful(Checkpoints):
    @pytest.fixture
    def store_url(self):
        return "forgetful://"

    @pytest.mark.xfail
    async def test_a_checkpoint_moves_from_where_it_is(self, store):
        assert False

    test_the_first_checkpoint_is_zero = None
"""


@pytest.fixture
def author(tmp_path: Path) -> ThirdParty:
    author = ThirdParty(tmp_path)
    (tmp_path / "test_acme.py").write_text(TEST_FILE)
    return author


def test_outcomes_stand_apart_in_a_project_without_settings(author: ThirdParty) -> None:
    done = author.pytest("test_acme.py", "-k", "TestMemory", "-v", "-rs")
    assert done.returncode == 0, done.stdout
    assert re.search(r"test_two_stores_on_one_url_share_everything NOT CLAIMED", done.stdout)
    assert "SKIPPED [1] test_acme.py" in done.stdout
    assert "conformance of memory (test_acme.TestMemory)" in done.stdout
    assert re.search(r"clauses: 10 passed, 2 not claimed, 0 not exercised, \d+ not run, 0 failed", done.stdout)
    assert re.search(r"11 passed, 1 skipped, .*2 not claimed", done.stdout)


def test_each_class_has_a_report_of_its_own(author: ThirdParty) -> None:
    done = author.pytest("test_acme.py", "-q", "--conformance-report", "report.json", "--conformance-seed", "12")
    assert done.returncode == 1
    assert "replay: --conformance-seed 12" in done.stdout
    memory, forgetful = (read_report(author.folder / f"report-Test{name}.json") for name in ("Memory", "Forgetful"))
    assert (memory.store, memory.backend, memory.seed) == ("test_acme.TestMemory", "memory", 12)
    assert (forgetful.store, forgetful.backend) == ("test_acme.TestForgetful", "Forgetful")
    assert memory.counts["failed"] == 0
    assert forgetful.counts["failed"] > 0


def test_what_an_author_puts_in_the_place_of_a_test_is_not_run(author: ThirdParty) -> None:
    author.pytest("test_acme.py", "-q", "-k", "TestForgetful", "--conformance-report", "report.json")
    outcomes = {clause.test: clause.outcome for clause in read_report(author.folder / "report.json").clauses}
    assert outcomes["test_a_checkpoint_moves_from_where_it_is"] is Outcome.NOT_RUN
    assert outcomes["test_a_checkpoint_takes_the_position_of_an_event"] is Outcome.FAILED


def test_an_expected_failure_has_failed(author: ThirdParty) -> None:
    (author.folder / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    [item.add_marker(pytest.mark.xfail) for item in items]\n"
    )
    done = author.pytest("test_acme.py", "-q", "-k", "TestForgetful", "--conformance-report", "report.json")
    assert done.returncode == 0
    assert read_report(author.folder / "report.json").counts["failed"] > 0


def test_the_suite_is_run_by_name(author: ThirdParty) -> None:
    arguments = ("--pyargs", "eventstore_conformance", "-q", "--conformance-chapter", "opening")
    refused = author.pytest(*arguments)
    assert refused.returncode == 4
    assert "--store-url URL is missing" in refused.stderr
    done = author.pytest(*arguments, "--store-url", "sqlite:///app.db", "-n", "2")
    assert done.returncode == 0, done.stdout
    assert "conformance of SQLite (sqlite:///app.db)" in done.stdout
    assert "clauses: 12 passed, 0 not claimed" in done.stdout
    assert not list(author.folder.glob("app*"))


def test_tests_of_others_are_left_alone_without_the_extra(author: ThirdParty) -> None:
    (author.folder / "test_other.py").write_text("def test_it():\n    pass\n")
    done = author.python("-c", WITHOUT_THE_EXTRA)
    assert (done.returncode, done.stderr) == (0, "")
    assert "conformance" not in done.stdout


WITHOUT_THE_EXTRA = """
import sys

class Absent:
    def find_spec(name, *others):
        if name in ("hypothesis", "pytest_asyncio"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent)
import pytest

others = [option for name in ("hypothesispytest", "asyncio", "cacheprovider") for option in ("-p", f"no:{name}")]
sys.exit(pytest.main(["-q", *others, "test_other.py"]))
"""

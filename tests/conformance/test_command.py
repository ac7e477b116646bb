"""`eventstore conform`, as an author runs it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import psycopg
import pytest

from eventstore import ANY, NewEvent, open_store
from eventstore_conformance import __version__
from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import Report, read_report
from tests.conformance.third_party import ThirdParty

OPENING = ("--chapter", "opening")


@pytest.fixture
def author(tmp_path: Path) -> ThirdParty:
    return ThirdParty(tmp_path)


def outcomes(report: Report) -> dict[str, Outcome]:
    return {clause.id: clause.outcome for clause in report.clauses}


def test_a_run_is_shown_and_written_down(author: ThirdParty) -> None:
    done = author.conform("memory://", *OPENING, "--report", "report.json", "--badge", "badge.svg")
    report = read_report(author.folder / "report.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "conformance of memory (memory://)" in done.stdout
    assert f"suite {__version__}" in done.stdout
    assert re.search(r"Opening +10 +2 +- +- ", done.stdout)
    assert "not claimed, DURABLE: OPEN-08\nnot claimed, SHARED: OPEN-09\n" in done.stdout
    assert not (author.folder / ".hypothesis").exists()
    assert (report.backend, report.store) == ("memory", "memory://")
    assert report.capabilities == ["CONSUMERS", "RESTORE", "TRANSACTIONS"]
    assert report.counts["passed"] == 10
    assert outcomes(report)["OPEN-08"] is Outcome.NOT_CLAIMED
    assert outcomes(report)["APPEND-01"] is Outcome.NOT_RUN
    assert "run in part" in (ET.parse(author.folder / "badge.svg").getroot().get("aria-label") or "")


def test_what_fails_is_shown_with_its_clause_and_how_to_see_it_again(author: ThirdParty) -> None:
    done = author.conform("forgetful://", "--chapter", "Checkpoints", "--seed", "7", "--report", "report.json")
    assert done.returncode == 1
    assert "CHECKPOINT-02 failed" in done.stdout
    assert "assert at == position" in done.stdout
    assert "again: --chapter checkpoint --seed 7" in done.stdout
    assert outcomes(read_report(author.folder / "report.json"))["CHECKPOINT-02"] is Outcome.FAILED


def test_what_works_without_being_claimed_is_pointed_out(author: ThirdParty) -> None:
    done = author.conform("modest://{namespace}", *OPENING, "--report", "report.json")
    assert done.returncode == 0
    assert "pointed out: OPEN-08: DURABLE is not claimed, and works all the same" in done.stdout
    assert len(read_report(author.folder / "report.json").pointed_out) == 2


def test_a_store_may_refuse_to_be_shared(author: ThirdParty) -> None:
    done = author.conform("alone://{namespace}", *OPENING)
    assert done.returncode == 0, done.stdout
    assert "not claimed, SHARED: OPEN-09\n" in done.stdout


def test_a_store_that_would_be_the_same_for_every_test_is_refused(author: ThirdParty) -> None:
    done = author.conform("kept://somewhere")
    assert done.returncode == 2
    assert "kept://somewhere is always the same one. Put {namespace} where" in done.stderr
    assert author.conform("kept://somewhere-{namespace}", *OPENING).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the URL of a store"),
        (["memory://", "--show", "x.json"], "give the URL of a store"),
        (["memory://", "--chapter", "nonsense"], "no chapter 'nonsense'; the chapters are: Append, Append many"),
        (["nonsense://"], "no backend for nonsense://"),
        (["unfinished://"], "unfinished:// cannot be used: TypeError: 'NoneType' object is not callable ("),
        (["postgresql://me:secret@127.0.0.1:1/db"], "postgresql://127.0.0.1:1/db cannot be used: cannot connect"),
        (["--show", "missing.json"], "missing.json is no report of the conformance suite"),
    ],
)
def test_what_cannot_be_run_says_why(author: ThirdParty, arguments: list[str], said: str) -> None:
    done = author.conform(*arguments)
    assert done.returncode == (1 if "--show" in arguments and len(arguments) == 2 else 2)
    assert said in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_the_same_seed_makes_the_same_choices(author: ThirdParty) -> None:
    told = [choices_of(author, seed) for seed in ("1", "1", "2")]
    assert told[0] == told[1] != told[2]


def choices_of(author: ThirdParty, seed: str) -> list[str]:
    assert author.conform("telling://", "--chapter", "names", "--seed", seed).returncode == 0
    file = author.folder / "told.txt"
    told = file.read_text().splitlines()
    file.unlink()
    assert len(told) > 50
    return told


def test_two_processes_report_as_one_does(author: ThirdParty) -> None:
    for jobs in ("1", "2"):
        done = author.conform("memory://", *OPENING, "--jobs", jobs, "--seed", "5", "--report", f"{jobs}.json")
        assert done.returncode == 0, done.stderr
    one, two = (read_report(author.folder / f"{jobs}.json") for jobs in "12")
    assert (outcomes(one), one.counts, one.seed) == (outcomes(two), two.counts, two.seed)
    assert author.conform("--compare", "1.json", "2.json").stdout == "nothing changed\n"


# --- Fresh stores ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_file_of_a_url_is_left_as_it_is_and_no_other_is_left_behind(author: ThirdParty) -> None:
    url = f"sqlite:///{author.folder}/app.v1.db"
    async with open_store(url) as store:
        await store.append("kept-1", [NewEvent("Kept", {})], expected_version=ANY)
    before = {path: path.read_bytes() for path in author.folder.glob("app*")}
    done = author.conform(url, *OPENING)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in author.folder.glob("app*")} == before


def test_stores_are_kept_where_that_is_asked_for(author: ThirdParty) -> None:
    assert author.conform("sqlite:///app.db", *OPENING, "--keep-stores").returncode == 0
    assert list(author.folder.glob("app-conformance_*.db"))
    assert not (author.folder / "app.db").exists()


@pytest.mark.asyncio
async def test_the_schema_of_a_url_is_left_as_it_is_and_no_other_is_left_behind(
    author: ThirdParty, postgres_server: str, postgres_url: str
) -> None:
    async with open_store(postgres_url) as store:
        recorded = await store.append("kept-1", [NewEvent("Kept", {})], expected_version=ANY)
        done = author.conform(postgres_url, *OPENING)
        assert done.returncode == 0, done.stderr
        assert [event async for event in store.read_all()] == recorded
    with psycopg.connect(postgres_server) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'conformance%'").fetchall()
    assert found == []


@pytest.mark.asyncio
async def test_a_store_that_holds_something_is_refused_and_left_as_it_is(author: ThirdParty, postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        recorded = await store.append("kept-1", [NewEvent("Kept", {})], expected_version=ANY)
        done = author.conform(f"{postgres_url}&application_name={{namespace}}")
        assert done.returncode == 2
        assert "leads to a store that already holds something; nothing was changed" in done.stderr
        assert [event async for event in store.read_all()] == recorded

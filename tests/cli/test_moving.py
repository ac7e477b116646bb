"""`eventstore export`, `import` and `verify`: between files and stores on disks and servers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from eventstore import EventStore, NewEvent, open_store
from eventstore.cli.commands import eventstore
from tests.engines import IN_FILES, url_for
from tests.moving.contents import Contents, contents_of, fill_with_everything

T = TypeVar("T")


@pytest.fixture(params=IN_FILES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


@pytest.fixture
def filled_url(tmp_path: Path) -> str:
    """The URL of a store with everything."""
    return in_store(f"sqlite:///{tmp_path}/filled.db", fill_with_everything)[0]


@pytest.fixture
def exported(filled_url: str, tmp_path: Path) -> Path:
    """The export of a store with everything."""
    file = tmp_path / "store.jsonl"
    assert command("export", filled_url, file).exit_code == 0
    return file


def in_store(url: str, work: Callable[[EventStore], Awaitable[T]]) -> tuple[str, T]:
    """Open a store, and return its URL and what the work returns."""

    async def run() -> T:
        async with open_store(url) as store:
            return await work(store)

    return url, asyncio.run(run())


def contents(url: str) -> Contents:
    return in_store(url, contents_of)[1]


def command(*arguments: object, text: bytes | None = None) -> Result:
    """Run the command in this process; whatever goes wrong must be told in words."""
    result = CliRunner().invoke(eventstore, [str(argument) for argument in arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


COMMAND = f"{sys.executable} -c 'from eventstore.cli import main; main()'"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)


def test_a_store_moves_through_a_file(url: str, filled_url: str, exported: Path) -> None:
    done = command("import", url, exported)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "14 events stored" in done.stdout
    assert contents(url) == contents(filled_url)
    assert command("import", url, exported).stdout.startswith("0 events stored, 14 stored before")


def test_a_store_moves_through_a_pipe(url: str, filled_url: str) -> None:
    done = shell(f"{COMMAND} export {filled_url} | gzip | gunzip | {COMMAND} import '{url}'")
    assert "14 events stored" in done.stdout
    assert done.stderr.startswith("exported ")
    assert contents(url) == contents(filled_url)


def test_what_is_exported_of_an_engine_is_imported(url: str, tmp_path: Path) -> None:
    in_store(url, fill_with_everything)
    target = f"sqlite:///{tmp_path}/target.db"
    assert command("export", url, tmp_path / "file").exit_code == 0
    assert command("import", target, tmp_path / "file").exit_code == 0
    assert contents(target) == contents(url)


def test_a_store_that_is_sound_is_told_so(url: str) -> None:
    in_store(url, fill_with_everything)
    done = command("verify", url)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("sound: 14 events")


def test_a_store_that_is_broken_is_told_so(filled_url: str) -> None:
    with sqlite3.connect(filled_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM events WHERE stream_id = 'order-2' AND version = 2")
    connection.close()
    done = command("verify", filled_url)
    assert done.exit_code == 1
    assert "missing: stream 'order-2', version 2" in done.stdout
    assert command("verify", filled_url, "--most-problems", "0").stdout.count("\n") == 2


def test_a_broken_store_leaves_no_export(filled_url: str, tmp_path: Path) -> None:
    with sqlite3.connect(filled_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM events WHERE stream_id = 'order-2' AND version = 2")
    connection.close()
    done = command("export", filled_url, tmp_path / "out")
    assert done.exit_code == 2
    assert "'order-2' lacks events that were not truncated" in done.stderr
    assert not [*tmp_path.glob("out*")]


@pytest.mark.parametrize("name", ["export", "verify"])
def test_looking_at_a_store_that_is_not_there_makes_none(name: str, tmp_path: Path) -> None:
    done = command(name, f"sqlite:///{tmp_path}/typo.db")
    assert done.exit_code == 2
    assert done.stderr == "Error: there is no store at this URL: check it; nothing was made there\n"
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("arguments", [["export"], ["verify"], ["import"]])
@pytest.mark.parametrize("url", ["memory://", "sqlite://"])
def test_a_store_that_is_gone_with_the_command_is_refused(arguments: list[str], url: str, exported: Path) -> None:
    done = command(*arguments, url, *([exported] if arguments == ["import"] else []))
    assert done.exit_code == 2
    assert "name one that is kept" in done.stderr


@pytest.mark.parametrize("name", ["export", "verify", "import"])
def test_a_url_that_is_none_is_refused(name: str, exported: Path) -> None:
    done = command(name, "app.db", *([exported] if name == "import" else []))
    assert done.exit_code == 2
    assert "a store URL begins with scheme://" in done.stderr


def test_an_export_that_is_there_is_not_replaced_unless_asked_for(filled_url: str, exported: Path) -> None:
    before = exported.read_bytes()
    done = command("export", filled_url, exported)
    assert done.exit_code == 2
    assert "pass --overwrite" in done.stderr
    assert exported.read_bytes() == before
    in_store(filled_url, append_one)
    assert command("export", filled_url, exported, "--overwrite").exit_code == 0
    assert exported.read_bytes().count(b"\n") == before.count(b"\n") + 1


async def append_one(store: EventStore) -> None:
    await store.append("order-1", [NewEvent("Later", {})], expected_version=3)


def test_what_is_no_export_is_never_replaced(filled_url: str, tmp_path: Path) -> None:
    """The store itself, by a slip; by a link; another file."""
    before = contents(filled_url)
    (tmp_path / "link").symlink_to(tmp_path / "filled.db")
    (tmp_path / "letter").write_text("dear")
    for name in ("filled.db", "link", "letter"):
        done = command("export", filled_url, tmp_path / name, "--overwrite")
        assert done.exit_code == 2
        assert "is no export, and is not replaced" in done.stderr
    assert contents(filled_url) == before
    assert (tmp_path / "letter").read_text() == "dear"


def test_an_export_is_its_owners_alone_and_keeps_the_rights_that_it_was_given(filled_url: str, exported: Path) -> None:
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    exported.chmod(0o640)
    link = exported.with_name("link")
    link.symlink_to(exported)
    assert command("export", filled_url, link, "--overwrite").exit_code == 0
    assert link.is_symlink()
    assert stat.S_IMODE(exported.stat().st_mode) == 0o640


def test_a_device_and_a_pipe_are_written_to(filled_url: str, tmp_path: Path) -> None:
    assert command("export", filled_url, "/dev/null").exit_code == 0
    done = command("export", filled_url, "/dev/full")
    assert (done.exit_code, done.stderr) == (2, "Error: No space left on device\n")
    os.mkfifo(tmp_path / "pipe")
    line = f"{COMMAND} export {filled_url} {tmp_path}/pipe & {COMMAND} import --check {tmp_path}/pipe; wait"
    assert shell(line).stdout.startswith("sound: 14 events")


def test_an_export_that_cannot_be_written_says_so(filled_url: str, tmp_path: Path) -> None:
    done = command("export", filled_url, tmp_path / "no folder" / "out")
    assert done.exit_code == 2
    assert "no folder" in done.stderr
    assert "No such file or directory" in done.stderr


def test_a_bad_file_is_refused_before_there_is_a_store(exported: Path, tmp_path: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:-10])
    done = command("import", f"sqlite:///{tmp_path}/new.db", exported)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {exported}: line ")
    assert not (tmp_path / "new.db").exists()


def test_a_file_can_be_checked_alone(exported: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    done = command("import", url, exported, "--check")
    assert done.stdout.startswith("sound: 14 events up to position ")
    assert command("import", "--check", exported).stdout == done.stdout
    exported.write_bytes(b"")
    assert "the file is empty" in command("import", url, exported, "--check").stderr
    assert not (tmp_path / "new.db").exists()


def test_consumers_can_be_left_out(exported: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    assert command("import", url, exported, "--without-consumers").exit_code == 0
    found = contents(url)
    assert (found.read_by, found.consumers) == ({}, {})


def test_a_conflict_is_told_in_words(exported: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    in_store(url, fill_with_everything)
    done = command("import", url, exported)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: the import stopped at line ")


def test_a_size_limit_can_be_lifted_or_lowered(exported: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    done = command("import", url, exported, "--max-event-size", "100")
    assert done.exit_code == 2
    assert "the limit is 100" in done.stderr
    assert command("import", url, exported, "--max-event-size", "1000").exit_code == 0


def test_a_store_migrated_by_hand_only_can_be_looked_at(filled_url: str, tmp_path: Path) -> None:
    assert command("verify", f"{filled_url}?migrate=false").exit_code == 0
    assert command("verify", f"{filled_url}?migrate=true").exit_code == 0


def test_whoever_stops_reading_an_export_sees_no_traceback(filled_url: str) -> None:
    done = shell(f"{COMMAND} export {filled_url} | head -c 1")
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["export", "import"])
def test_arguments_in_the_other_order_are_told_without_what_may_be_a_password(name: str, exported: Path) -> None:
    done = command(name, exported, "postgresql://app:hunter2@host/db")
    assert done.exit_code == 2
    assert "the URL of the store comes first" in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize("name", ["export", "import", "verify"])
def test_whoever_interrupts_is_told_so(
    name: str, exported: Path, filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(self: EventStore) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EventStore, "open", interrupted)
    out = exported.with_name("out")
    arguments = {"export": [out], "import": [exported], "verify": []}[name]
    done = command(name, filled_url, *arguments)
    assert (done.exit_code, done.stderr) == (130, "Error: interrupted\n")
    assert not [*exported.parent.glob("out*")]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = command("import", f"sqlite:///{tmp_path}/new.db", tmp_path / "typo")
    assert (done.exit_code, done.stderr) == (2, f"Error: {tmp_path}/typo: No such file or directory\n")


def test_a_refusal_says_how_much_is_stored(exported: Path, filled_url: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    assert command("import", url, exported).exit_code == 0
    in_store(url, lambda store: store.append("mine-1", [NewEvent("Mine", {})], expected_version=0))
    in_store(filled_url, append_one)
    assert command("export", filled_url, exported, "--overwrite").exit_code == 0
    done = command("import", url, exported)
    assert done.exit_code == 2
    assert done.stderr.endswith("\n15 events of the export are in the store by now, and stay\n")


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    overwrite: list[str], filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out"
    export = EventStore.export

    def appearing(self: EventStore, **options: Any) -> AsyncIterator[bytes]:
        file.write_text("precious")
        return export(self, **options)

    monkeypatch.setattr(EventStore, "export", appearing)
    done = command("export", filled_url, file, *overwrite)
    assert done.exit_code == 2
    assert file.read_text() == "precious"
    assert not [*tmp_path.glob(".eventstore-*")]


def test_standard_output_may_be_named(filled_url: str) -> None:
    by_name = shell(f"{COMMAND} export {filled_url} /dev/stdout | wc -l").stdout
    assert by_name == shell(f"{COMMAND} export {filled_url} | wc -l").stdout
    assert shell(f"{COMMAND} export {filled_url} /dev/fd/3 3>&1 | wc -l").stdout == by_name


def test_a_closed_standard_output_is_told_in_words(filled_url: str) -> None:
    done = shell(f"{COMMAND} export {filled_url} >&- || true")
    assert done.stderr == "Error: standard output is closed: name a file\n"


def test_a_store_is_brought_up_to_date(exported: Path, filled_url: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    assert command("import", url, exported).exit_code == 0
    in_store(filled_url, lambda store: store.delete_stream("order-2", expected_version=7, erase=True))
    assert command("export", filled_url, exported, "--overwrite").exit_code == 0
    assert "import with update=True (--update)" in command("import", url, exported).stderr
    assert command("import", url, exported, "--update").exit_code == 0
    assert contents(url) == contents(filled_url)


def test_warnings_of_eventstore_are_shown_and_not_those_of_what_works_for_it() -> None:
    """A pool that connects again and again tells of each try; the error that comes of it is told once."""
    code = """
import logging
from eventstore.cli.failures import told_in_words
with told_in_words():
    logging.getLogger("eventstore").warning("trying again")
    logging.getLogger("psycopg.pool").warning("error connecting")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "trying again\n"

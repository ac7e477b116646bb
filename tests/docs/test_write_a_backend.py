"""docs/write-a-backend.md, walked through: every file is written, every command run, and says what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from eventstore_conformance import CHAPTERS
from eventstore_conformance.clauses import title_of
from tests.installing import installed

PAGE = Path(__file__).parents[2] / "docs" / "write-a-backend.md"
CHANGING = re.compile(r"seed \d+|\d+\.\d+|\d+ not run")
"""What is another number each time, or when the suite grows: the seed, seconds, and what was not chosen."""


class Command(NamedTuple):
    """A command of the page, and the lines that the page shows of its output; `…` stands for any lines."""

    line: str
    shown: list[str]


def blocks() -> Iterator[tuple[str, str]]:
    """Yield the blocks of code on the page: the language, and the text."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        yield Command(line, [output for output in shown if output != "…"])


@pytest.fixture
def author() -> Iterator[Path]:
    """An empty folder; in memory where that can be, since waiting for the disk would take most of the time."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def test_the_page_leads_where_it_says(author: Path, tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    for language, text in blocks():
        named = re.match(r"# (\S+\.\w+)(, continued)?\n", text)
        if language == "console":
            for command in commands(text):
                if command.line.startswith("pip install -e "):
                    environment = installed(author, tmp_path) | {"COLUMNS": "100"}
                else:
                    check(command, run_in_shell(command.line, author, environment))
        else:
            assert named, f"this block is no file of the author's:\n{text}"
            file = author / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a" if named[2] else "w") as written:
                written.write(text[named.end() :])
    assert not list(author.glob("events-*")), "the fresh stores were not removed"


def test_the_chapters_on_the_page_are_those_of_the_suite() -> None:
    table = PAGE.read_text("utf-8").partition("| chapter | what it asks of you |")[2].partition("\n\n")[0]
    named = [name.strip() for row in table.splitlines()[2:] for name in row.split("|")[1].split(",")]
    assert sorted([*named, "Append"]) == sorted(title_of(chapter) for chapter in CHAPTERS)


def run_in_shell(line: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        line, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


def check(command: Command, output: str) -> None:
    """Check that all lines that are shown are in the output, in this order."""
    lines = iter(output.splitlines())
    for shown in command.shown:
        found = any(as_shown(shown) in as_shown(line) for line in lines)
        assert found, f"after `{command.line}` this is not shown, or not in its place: {shown}\n{output}"


def as_shown(line: str) -> str:
    """Return a line without what changes, the width of its columns included."""
    return CHANGING.sub("#", " ".join(line.split()))

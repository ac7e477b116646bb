"""The command `eventstore` itself; its subcommands have tests of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


RUN = "from eventstore.cli import main; main()"


def test_the_help_lists_the_subcommands() -> None:
    done = run(RUN, "--help")
    assert done.returncode == 0
    assert "conform" in done.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert run(RUN, "--version").stdout.startswith("eventstore-kit 0.")


def test_an_unknown_subcommand_is_refused() -> None:
    done = run(RUN, "nonsense")
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr


@pytest.mark.parametrize(
    ("missing", "arguments", "advice"),
    [
        ("click", ["--help"], "click is not installed: run pip install 'eventstore-kit[cli]'"),
        ("rich", ["conform", "x://", "--jobs", "2"], "run pip install 'eventstore-kit[cli,conformance]'"),
        ("hypothesis", ["conform", "x://"], "run pip install 'eventstore-kit[cli,conformance]'"),
    ],
)
def test_what_is_not_installed_is_named_with_the_line_that_installs_it(
    missing: str, arguments: list[str], advice: str
) -> None:
    done = run(f"import sys; sys.modules[{missing!r}] = None; {RUN}", *arguments)
    assert done.returncode == 2
    assert advice in done.stderr
    assert "Traceback" not in done.stderr

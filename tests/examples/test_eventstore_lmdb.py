"""`examples/eventstore_lmdb`, tested as its author tests it: the conformance suite, on folders of real LMDB."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.installing import installed

EXAMPLE = Path(__file__).parents[2] / "examples" / "eventstore_lmdb"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return installed(EXAMPLE, tmp_path / "installed")


def test_it_passes_the_whole_suite_for_what_it_claims(environment: dict[str, str], tmp_path: Path) -> None:
    command = ["pytest", "-q", "-ra", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'run'}", "tests"]
    done = subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    clauses = re.search(r"clauses: (\d+) passed, \d+ not claimed, \d+ not exercised, 0 not run, 0 failed", done.stdout)
    assert clauses is not None, done.stdout
    assert int(clauses[1]) > 200


def test_the_command_runs_on_folders_of_its_own(environment: dict[str, str], tmp_path: Path) -> None:
    command = ["eventstore", "conform", "lmdb:///events?map_size=100000000", "--chapter", "opening"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "claims CONSUMERS, DURABLE, RESTORE, SHARED, TRANSACTIONS" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["installed"]

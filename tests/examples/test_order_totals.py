"""`examples/order_totals.py`: two workers, one of them killed again and again while orders arrive."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "order_totals.py"
LEASE = "--lease=0.5"


@contextmanager
def started(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SCRIPT), *arguments, "--store", url, LEASE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(url: str, *arguments: str) -> str:
    with started(url, *arguments) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    return output


def test_the_table_equals_the_events_whatever_happens_to_a_worker(postgres_url: str) -> None:
    with started(postgres_url, "work") as survivor, started(postgres_url, "produce", "3000") as producer:
        for wait in (0.5, 1.0, 1.5):
            with started(postgres_url, "work") as victim:
                try:
                    victim.wait(wait)
                except subprocess.TimeoutExpired:
                    victim.kill()
        output, errors = producer.communicate(timeout=120)
        assert "3,000 orders appended" in output, errors
        assert "equal" in run(postgres_url, "check")
        survivor.terminate()
        assert survivor.wait(30) == 0, survivor.stderr and survivor.stderr.read()
    assert run(postgres_url, "check").startswith("3,000 orders of 100 customers")


def test_it_says_which_store_it_needs() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "check"], capture_output=True, text=True, env={})
    assert done.returncode == 2
    assert "--store postgresql://user@host/database" in done.stderr

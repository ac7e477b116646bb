"""`nox -s mutants`: the whole suite on every mutant, the matrix of what caught what, and the page docs/mutants.md.

`python -m tests.conformance.mutants.page NAME…` runs the mutants named, and writes no page.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import track

from eventstore_conformance.clauses import all_clauses
from tests.conformance.mutants.declaring import Mutant
from tests.conformance.mutants.gallery import GALLERY, MODULES
from tests.conformance.mutants.matrix import ALL_SOUND, TESTS

PAGE: Final = Path(__file__).parents[3] / "docs" / "mutants.md"
AT_ONCE: Final = 2
PATIENCE: Final = 600

INTRODUCTION: Final = """\
# Mutants

Does the conformance suite catch anything? These {count} stores are broken on purpose, each in a few lines over a sound
one and after a failure known from the field. The suite must catch every one of them, by a test that the mutant names;
and on the sound stores that they are made of, no test may fail. In every test run each mutant meets the tests that it
names; `nox -s mutants` runs the whole suite on each, and writes this page.

The code is in [tests/conformance/mutants](../tests/conformance/mutants).
"""

STAYING: Final = """\
## Tests that catch no mutant

Each of them says in its docstring why it stays.
"""


def caught_by_all_tests(name: str) -> list[str]:
    """Run all tests on one store, in a process of its own; return the ids of those that failed."""
    command = [sys.executable, "-m", "tests.conformance.mutants.matrix", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr}")
    return msgspec.json.decode(done.stdout, type=dict[str, list[str]])[name]


def run_all(names: list[str]) -> dict[str, list[str]]:
    """Return what fails on each store."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = track(pool.map(caught_by_all_tests, names), "mutants", total=len(names), console=Console(stderr=True))
        return dict(zip(names, found, strict=True))


def faults_of(matrix: Mapping[str, Iterable[str]], *, whole: bool) -> list[str]:
    """Say what is wrong: mutants that survive, wrong declarations, sound stores that fail, idle tests."""
    faults = [f"{mutant.name} survives" for mutant in GALLERY if mutant.name in matrix and not matrix[mutant.name]]
    for mutant in GALLERY:
        missed = set(mutant.caught_by) - set(matrix.get(mutant.name, mutant.caught_by))
        faults += [f"{mutant.name} is not caught by {', '.join(sorted(missed))}"] if missed else []
    for sound in ALL_SOUND:
        faults += [f"on the sound {sound.__name__} {test} fails" for test in matrix.get(sound.__name__, ())]
    if whole:
        idle = [test for test in idle_tests(matrix) if not reason_of(test)]
        faults += [f"{test} catches no mutant, and does not say why it stays" for test in idle]
    return faults


def idle_tests(matrix: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the ids of the tests that catch no mutant."""
    busy = {test for mutant in GALLERY for test in matrix.get(mutant.name, ())}
    return [test for test in TESTS if test not in busy]


def reason_of(test_id: str) -> str:
    """Return why a test stays that catches nothing: the paragraph of its docstring that begins so."""
    paragraphs = (TESTS[test_id].__doc__ or "").split("\n\n")
    reasons = [" ".join(paragraph.split()) for paragraph in paragraphs[1:]]
    return next((reason.removeprefix("It stays: ") for reason in reasons if reason.startswith("It stays: ")), "")


def page(matrix: Mapping[str, list[str]]) -> str:
    """Return the page."""
    lines = [INTRODUCTION.format(count=len(GALLERY))]
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        about = (module.__doc__ or "").strip().removeprefix("Mutants ").partition("\n\n")[0].replace("\n", " ")
        lines += [f"## {name.replace('_', ' ').capitalize()}", "", f"They are mutants {about}", ""]
        lines += ["| mutant | the failure | caught by |", "| --- | --- | --- |"]
        lines += [row(mutant, matrix[mutant.name]) for mutant in GALLERY if mutant.module == name]
        lines.append("")
    idle = idle_tests(matrix)
    if idle:
        texts = {clause.id: clause.text for clause in all_clauses()}
        lines += [STAYING, "| test | clause | why it stays |", "| --- | --- | --- |"]
        lines += [f"| {test} | {texts[test]} | {reason_of(test)} |" for test in idle]
        lines.append("")
    return "\n".join(lines)


def row(mutant: Mutant, caught: list[str]) -> str:
    """Return the row of a mutant: first the tests that it names."""
    others = len(set(caught) - set(mutant.caught_by))
    named = ", ".join(mutant.caught_by)
    return f"| {mutant.name} | {mutant.failure} | {named}{f' and {others} more' if others else ''} |"


def main(names: list[str]) -> None:
    """Run, print the matrix, write the page; exit with 1 if anything is wrong."""
    console = Console(soft_wrap=True, highlight=False)
    every = [mutant.name for mutant in GALLERY] + [sound.__name__ for sound in ALL_SOUND]
    matrix = run_all(names or every)
    for name, caught in matrix.items():
        console.print(f"{name}: {', '.join(caught) or 'nothing'}")
    if not names:
        caught_in_all = {test: sum(test in caught for caught in matrix.values()) for test in TESTS}
        console.print("\nmutants caught by each test:")
        console.print(", ".join(f"{test} {number}" for test, number in caught_in_all.items()))
        PAGE.write_text(page(matrix), "utf-8")
    faults = faults_of(matrix, whole=not names)
    console.print(f"\n{len(matrix)} stores, {len(faults)} faults", *faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(sys.argv[1:])

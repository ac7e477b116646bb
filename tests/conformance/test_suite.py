"""The suite itself: what docs, reports and third parties rely on."""

import ast
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventstore
import eventstore_conformance
from eventstore_conformance import CHAPTERS, StoreConformance
from eventstore_conformance.contract import contract

TESTS: list[Callable[..., Any]] = [
    member for chapter in CHAPTERS for name, member in vars(chapter).items() if name.startswith("test_")
]
IDS = [(test.__doc__ or "").partition(":")[0] for test in TESTS]
# Nobody else is given the id of a clause that is no more: these three were about `Filter`, and never saw a store.
RETIRED = {"FILTER-11", "FILTER-12", "FILTER-13"}
MODULES = sorted(Path(next(iter(eventstore_conformance.__path__))).glob("*.py"))


def test_the_clause_of_every_test_begins_with_its_id() -> None:
    clause = re.compile(r"[A-Z]+-\d\d: [A-Z`].*[^ ]\.$")
    assert [test.__name__ for test in TESTS if not clause.match(test.__doc__ or "")] == []


def test_no_id_is_used_twice() -> None:
    assert [test_id for test_id, count in Counter(IDS).items() if count > 1] == []


def test_a_retired_id_stays_retired() -> None:
    assert RETIRED.isdisjoint(IDS)


def test_the_ids_of_a_chapter_are_numbered_without_a_gap() -> None:
    for chapter in {test_id[:-3] for test_id in IDS}:
        ids = [test_id for test_id in IDS if test_id[:-3] == chapter]
        numbered = [f"{chapter}-{number:02}" for number in range(1, int(ids[-1][-2:]) + 1)]
        assert ids == [test_id for test_id in numbered if test_id not in RETIRED]


def test_no_test_hides_another_of_the_same_name() -> None:
    names = Counter(test.__name__ for test in TESTS)
    assert [name for name, count in names.items() if count > 1] == []
    assert sum(name.startswith("test_") for name in dir(StoreConformance)) == len(TESTS)


def test_the_page_of_the_contract_is_what_the_tests_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "contract.md"
    assert page.read_text("utf-8") == contract(), "run: python -m eventstore_conformance.contract > docs/contract.md"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_suite_uses_the_public_api_only(module: Path) -> None:
    # How a backend restores shows to who calls its primitives only; one module does, and names what they take.
    beyond = {"primitives.py": "eventstore.backend"}.get(module.name)
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eventstore"):
            if node.module == "eventstore":
                assert {alias.name for alias in node.names} <= set(eventstore.__all__)
            else:
                assert node.module == beyond or (node.module or "").startswith("eventstore_conformance")
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("eventstore") for alias in node.names)
        if isinstance(node, ast.Attribute) and node.attr in {"_backend", "_repeatable"}:
            assert beyond


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_suite_neither_sleeps_nor_skips(module: Path) -> None:
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)}
    assert {name.rpartition(".")[2] for name in called}.isdisjoint({"sleep", "skip", "skipif", "importorskip", "xfail"})

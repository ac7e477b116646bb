"""The clauses of the contract: every test of the suite, with its id, its name and what it says."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

from eventstore_conformance.chapter import Chapter
from eventstore_conformance.suite import CHAPTERS


class Clause(NamedTuple):
    """One test: its stable id, the title of its chapter, its name, and the sentence that it proves."""

    id: str
    chapter: str
    test: str
    text: str


def title_of(chapter: type[Chapter]) -> str:
    """Return the title of a chapter: its class's name, in words."""
    first, *others = re.findall(r"[A-Z][a-z]+", chapter.__name__)
    return " ".join([first, *(word.lower() for word in others)]).replace("Sql", "SQL")


def clauses_of(chapter: type[Chapter]) -> list[Clause]:
    """Return the clauses of a chapter, in the order in which they stand there."""
    clauses = []
    for name, member in vars(chapter).items():
        if name.startswith("test_"):
            clause = (inspect.getdoc(member) or "").partition("\n\n")[0]
            clause_id, _, text = clause.partition(": ")
            clauses.append(Clause(clause_id, title_of(chapter), name, text.replace("\n", " ")))
    return clauses


def all_clauses() -> list[Clause]:
    """Return all clauses, chapter by chapter."""
    return [clause for chapter in CHAPTERS for clause in clauses_of(chapter)]

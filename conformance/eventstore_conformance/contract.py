"""The contract as a page, written from the tests: `python -m eventstore_conformance.contract > docs/contract.md`."""

from __future__ import annotations

import inspect
import sys

from eventstore_conformance import CHAPTERS, __version__
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.clauses import all_clauses, clauses_of, title_of

INTRODUCTION = """\
# The contract

What every event store does, whatever its engine: version {version} of the conformance suite, {count} clauses. Each
clause is a test; its id is stable, so that reports and issues can cite it.
[How to run the suite](conformance.md) says what its outcomes mean, and [semantics](semantics.md) has the rules of an
append case by case.

This page is written by `python -m eventstore_conformance.contract`; change the tests, not the page.
"""


def contract() -> str:
    """Return the page."""
    introduction = INTRODUCTION.format(version=__version__, count=len(all_clauses()))
    return "\n".join([introduction, *map(chapter_text, CHAPTERS)])


def chapter_text(chapter: type[Chapter]) -> str:
    """Return a chapter: its title, what it is about, and a table of its clauses."""
    about = (inspect.getdoc(chapter) or "").replace("\n", " ")
    lines = [f"## {title_of(chapter)}", "", about, "", "| id | clause | test |", "| --- | --- | --- |"]
    for clause in clauses_of(chapter):
        text = clause.text.replace("|", "&#124;")
        lines.append(f"| {clause.id} | {text} | `{clause.test}` |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(contract())

"""Choosing chapters by name."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from eventstore_conformance.clauses import Clause, all_clauses


def chosen_ids(names: Iterable[str]) -> set[str]:
    """Return the ids of the clauses in some chapters. Raises `pytest.UsageError` for a name that there is not."""
    clauses = all_clauses()
    ids: set[str] = set()
    for name in names:
        found = {clause.id for clause in clauses if name.lower() in names_of(clause)}
        if not found:
            titles = ", ".join(dict.fromkeys(clause.chapter for clause in clauses))
            raise pytest.UsageError(f"no chapter {name!r}; the chapters are: {titles}")
        ids |= found
    return ids


def names_of(clause: Clause) -> set[str]:
    """Return what the chapter of a clause is called: its title, and the prefix of its ids."""
    return {clause.chapter.lower(), clause.id.partition("-")[0].lower()}

"""The gallery: every mutant there is."""

from __future__ import annotations

from tests.conformance.mutants import (
    appending,
    consuming,
    faulty,
    filtering,
    following,
    grouping,
    identifying,
    joining,
    keeping,
    naming,
    opening,
    ordering,
    payloads,
    positions,
    racing,
    reading,
    removing,
    restoring,
    transacting,
    verifying,
)
from tests.conformance.mutants.declaring import MUTANTS, Mutant

MODULES = (
    appending,
    identifying,
    payloads,
    naming,
    reading,
    filtering,
    ordering,
    positions,
    following,
    consuming,
    racing,
    grouping,
    transacting,
    joining,
    keeping,
    removing,
    verifying,
    restoring,
    opening,
    faulty,
)
"""In the order of the suite's chapters."""


def mutants_of(module: str) -> list[Mutant]:
    """Return the mutants of one file, in its order."""
    return [mutant for mutant in MUTANTS if mutant.module == module]


GALLERY = [mutant for module in MODULES for mutant in mutants_of(module.__name__.rpartition(".")[2])]

"""How thorough a run is, and the seed that all its random choices come from.

The plugin sets both before any chapter is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from secrets import randbelow


@dataclass
class Effort:
    """The seed of the run, and whether it takes its time."""

    seed: int
    thorough: bool = False

    def examples(self, usual: int, *, thorough: int) -> int:
        """Return how many examples Hypothesis tries."""
        return thorough if self.thorough else usual

    def seed_of(self, test: str) -> int:
        """Return the seed of one test, the same whatever runs beside it."""
        return int.from_bytes(sha256(f"{self.seed} {test}".encode()).digest()[:8])


def new_seed() -> int:
    """Return a seed that is easy to type."""
    return randbelow(10**9)


EFFORT = Effort(new_seed())
"""That of the process."""

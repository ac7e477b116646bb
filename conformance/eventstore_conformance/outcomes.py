"""What becomes of a clause of the contract: beside passed and failed, it may not be claimed, or not be exercised.

To pytest both are tests that were left early, so that without the plugin, too, they never count as passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

import pytest

from eventstore import Capability, EventStore

if TYPE_CHECKING:
    # What pytest declares it as is a variable, and no type checker lets a class inherit from one.
    Skipped = BaseException
else:
    Skipped = pytest.skip.Exception


class Outcome(Enum):
    """The outcomes, from the best to the worst."""

    PASSED = "passed"
    NOT_CLAIMED = "not_claimed"
    NOT_EXERCISED = "not_exercised"
    NOT_RUN = "not_run"
    FAILED = "failed"

    @property
    def words(self) -> str:
        """The outcome as it is read."""
        return self.value.replace("_", " ")


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst of some outcomes."""
    return max(outcomes, key=list(Outcome).index)


class NotClaimed(Skipped):
    """The backend does not claim the capability; `works` where it does all the same what it does not claim."""

    outcome = Outcome.NOT_CLAIMED

    def __init__(self, capability: Capability, *, works: bool = False) -> None:
        self.needs = capability.name
        said = f"{capability.name} is not claimed"
        self.pointed_out = f"{said}, and works all the same: let the backend claim it" if works else ""
        super().__init__(self.pointed_out or said)


class NotExercised(Skipped):
    """The author did not supply the hook that the test needs."""

    outcome = Outcome.NOT_EXERCISED
    pointed_out = ""

    def __init__(self, hook: str) -> None:
        self.needs = hook
        super().__init__(f"the hook {hook!r} is not supplied")


def check_claimed(store: EventStore, *capabilities: Capability) -> None:
    """Go on only where the backend claims all of these."""
    for capability in capabilities:
        if capability not in store.capabilities:
            raise NotClaimed(capability)

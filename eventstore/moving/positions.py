"""Where the positions of one store lie in another that has its events, in the same order."""

from __future__ import annotations

from collections.abc import Iterable


class Positions:
    """Finds, for positions of the store exported, those that mean the same in the store imported into.

    A reader that begins after the one has the same events before it as a reader that begins after the other: a position
    becomes that of the last event at or below it. The events are told one by one, in order; so nothing is kept of them.
    """

    def __init__(self, wanted: Iterable[int]) -> None:
        self._wanted = sorted(set(wanted), reverse=True)
        self.are_wanted = any(self._wanted)
        """Whether any is wanted but 0, which is the beginning in every store."""
        self._found: dict[int, int] = {}
        self._of_events: set[int] = set()
        self.last = 0
        """The position here of the last event told."""

    def add(self, there: int, here: int) -> None:
        """Take in where the next event stood, and where it stands."""
        while self._wanted and self._wanted[-1] < there:
            self._found[self._wanted.pop()] = self.last
        if self._wanted and self._wanted[-1] == there:
            self._of_events.add(there)
        self.last = here

    def here(self, there: int) -> int:
        """Return a position of the one store as one of the other; all events were told."""
        return self._found.get(there, self.last)

    def is_of_event(self, there: int) -> bool:
        """Tell whether an event was told that stood at this very position."""
        return there in self._of_events

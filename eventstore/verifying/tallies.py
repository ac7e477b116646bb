"""What `verify` keeps of millions of events in little memory: sums that tell two readings apart, and repeated ids."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final
from uuid import UUID

_FEWEST: Final = 2**12
_MOST: Final = 2**20
_BITS: Final = 2**64 - 1
_PARTS: Final = 2**8


class TwoReadings:
    """Whether the log and the streams have the same events: a sum of hashes for each of many sets of streams.

    Where the two readings agree, the sum is zero. It does not tell which event makes the difference, but the streams
    that it may be in are few: there are as many sets as positions, and a million at most, which take eight megabytes.
    """

    def __init__(self, head: int) -> None:
        self._sets = max(_FEWEST, min(head, _MOST))
        self._sums = array("Q", bytes(8 * self._sets))

    def in_log(self, stream_id: str, version: int, position: int) -> None:
        """Count an event of the log."""
        number = hash(stream_id) % self._sets
        self._sums[number] = (self._sums[number] + hash((stream_id, version, position))) & _BITS

    def in_stream(self, stream_id: str, version: int, position: int) -> None:
        """Count an event of a stream."""
        number = hash(stream_id) % self._sets
        self._sums[number] = (self._sums[number] - hash((stream_id, version, position))) & _BITS

    @property
    def agree(self) -> bool:
        """Whether they have the same events."""
        return not any(self._sums)

    def differ_on(self, stream_id: str) -> bool:
        """Tell whether they differ in the set that a stream is in."""
        return self._sums[hash(stream_id) % self._sets] != 0


class EventIds:
    """Which ids occur twice: eight bytes for each, the hash of the id, and a set of a 256th of them at a time."""

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(_PARTS)]

    def add(self, event_id: UUID) -> None:
        """Take an id in."""
        number = hash(event_id.int)
        self._parts[number % _PARTS].append(number)

    def repeated(self) -> set[int]:
        """Return the hashes that occur more than once: of one id, or (hardly ever) of two."""
        return {number for part in self._parts for number in _repeated(part)}


def _repeated(numbers: array[int]) -> Iterator[int]:
    if len(set(numbers)) == len(numbers):
        return
    seen: set[int] = set()
    for number in numbers:
        if number in seen:
            yield number
        seen.add(number)

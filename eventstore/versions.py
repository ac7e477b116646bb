"""What a writer expects a stream to look like when its events arrive."""

from enum import Enum
from typing import Final, TypeAlias

from eventstore.errors import InvalidArgument

MAX_VERSION: Final = 2**63 - 1
"""The highest version a stream can reach: what a 64-bit signed integer holds."""


class StreamExpectation(Enum):
    """The expectations that name no exact version."""

    ANY = "ANY"
    NO_STREAM = "NO_STREAM"
    STREAM_EXISTS = "STREAM_EXISTS"

    def __repr__(self) -> str:
        return self.value


ANY: Final = StreamExpectation.ANY
"""No expectation: append after whatever is there. Two racing appends both succeed."""

NO_STREAM: Final = StreamExpectation.NO_STREAM
"""The stream has no events yet; the same as the exact version 0."""

STREAM_EXISTS: Final = StreamExpectation.STREAM_EXISTS
"""The stream has at least one event."""

ExpectedVersion: TypeAlias = int | StreamExpectation
"""An exact version (the number of the stream's last event, 0 for no stream), or `ANY`, `NO_STREAM`, `STREAM_EXISTS`."""


def check_expected_version(expected: object) -> None:
    """Refuse with `InvalidArgument` what is no `ExpectedVersion`."""
    if isinstance(expected, StreamExpectation):
        return
    if isinstance(expected, bool) or not isinstance(expected, int):
        raise InvalidArgument(
            "expected_version",
            expected,
            "give an exact version (an int, 0 for no stream), ANY, NO_STREAM or STREAM_EXISTS",
        )
    if not 0 <= expected <= MAX_VERSION:
        raise InvalidArgument("expected_version", expected, "an exact version is at least 0 and fits 64 bits")


def version_range(expected: ExpectedVersion) -> tuple[int, int]:
    """Return the lowest and the highest stream version that meet the expectation, both inclusive."""
    match expected:
        case StreamExpectation.ANY:
            return 0, MAX_VERSION
        case StreamExpectation.NO_STREAM:
            return 0, 0
        case StreamExpectation.STREAM_EXISTS:
            return 1, MAX_VERSION
        case exact:
            return exact, exact


def is_met(expected: ExpectedVersion, version: int) -> bool:
    """Tell whether a stream at `version` (0: no events yet) meets the expectation."""
    lowest, highest = version_range(expected)
    return lowest <= version <= highest

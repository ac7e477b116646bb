"""How a consumer is to work: what it reads, in what portions, and what it does with an event that fails."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from eventstore.arguments import check_integer
from eventstore.errors import InvalidArgument
from eventstore.filters import Filter
from eventstore.subscriptions import LogEnd

MOST_PARTITIONS: Final = 1_000


class OnError(Enum):
    """What happens with an event once all tries have failed."""

    STOP = "stop"
    """The consumer stops with `HandlerFailed`; the next run begins with this event."""

    PARK = "park"
    """The event is set aside, to be looked into, replayed or discarded; the consumer goes on with the next."""

    PARK_STREAM = "park stream"
    """The same, and later events of its stream wait behind it, in order; other streams go on."""


class Retry(msgspec.Struct, frozen=True):
    """How often an event is tried, and how long to wait before the next try: at random up to a bound that doubles.

    `attempts`: from 1 on. `first_wait` and `longest_wait`: seconds.
    """

    attempts: int = 5
    first_wait: float = 0.1
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        check_integer("attempts", self.attempts, 1)
        _check_seconds("first_wait", self.first_wait)
        _check_seconds("longest_wait", self.longest_wait)


class ConsumerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Those of `EventStore.consumer`."""

    filter: Filter | None
    after: int | LogEnd
    batch_size: int
    partitions: int
    on_error: OnError
    retry: Retry
    lease: float

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        check_integer("partitions", self.partitions, 1)
        if self.partitions > MOST_PARTITIONS:
            raise InvalidArgument("partitions", self.partitions, f"at most {MOST_PARTITIONS}")
        if not isinstance(self.on_error, OnError):
            raise InvalidArgument("on_error", self.on_error, "give one of OnError")
        if not isinstance(self.retry, Retry):
            raise InvalidArgument("retry", self.retry, "give a Retry")
        _check_seconds("lease", self.lease)
        if self.lease < 0.1:
            raise InvalidArgument("lease", self.lease, "at least 0.1 seconds")


def _check_seconds(argument: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise InvalidArgument(argument, value, "give a number of seconds, from 0 on")

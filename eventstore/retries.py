"""Calling again while the database is out of reach."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from eventstore.errors import EventStoreError, StoreUnavailable

_log: Final = logging.getLogger("eventstore")

T = TypeVar("T")


class Call(Protocol):
    """Runs a primitive that may run again, with the patience of a store."""

    def __call__(self, primitive: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> Awaitable[T]:
        """Return what it returns."""
        ...


async def call_again(
    error: StoreUnavailable, seconds: float, call: Callable[[], Awaitable[T]], *, if_unknown: bool = True
) -> T:
    """Repeat a call that failed with `error`, with growing waits, for so many `seconds`.

    `if_unknown`: also after a try that may have taken effect. Raises the last `StoreUnavailable`, or at once any other
    error; after a try whose outcome is unknown it is a `StoreUnavailable` that says so, whatever the last one met.
    """
    # Imported when first needed: most processes never lose their database, and importing takes longer than all of ours.
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

    _log.warning("the database is out of reach, trying again for %g seconds: %s", seconds, error)
    outcome_unknown = error.outcome_unknown

    def may_repeat(failure: BaseException) -> bool:
        return isinstance(failure, StoreUnavailable) and (if_unknown or not failure.outcome_unknown)

    wait = wait_random_exponential(multiplier=0.02, max=1)
    tries = AsyncRetrying(retry=retry_if_exception(may_repeat), stop=stop_after_delay(seconds), wait=wait, reraise=True)
    try:
        async for attempt in tries:
            with attempt:
                try:
                    return await call()
                except StoreUnavailable as again:
                    outcome_unknown |= again.outcome_unknown
                    raise
    except EventStoreError as last:
        if outcome_unknown and not (isinstance(last, StoreUnavailable) and last.outcome_unknown):
            raise StoreUnavailable(str(last), outcome_unknown=True) from last
        raise
    raise AssertionError("unreachable: the last failed try is raised again")

"""Calling again while the database is out of reach."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

from eventstore.errors import StoreUnavailable

_log: Final = logging.getLogger("eventstore")

P = ParamSpec("P")
T = TypeVar("T")


async def call_again(
    error: StoreUnavailable, seconds: float, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Repeat a call that failed with `error`, with growing waits, for so many `seconds`.

    Raises the last `StoreUnavailable`; its outcome is unknown if that of any try was.
    """
    # Imported when first needed: most processes never lose their database, and importing takes longer than all of ours.
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

    _log.warning("the database is out of reach, trying again for %g seconds: %s", seconds, error)
    outcome_unknown = error.outcome_unknown
    wait = wait_random_exponential(multiplier=0.02, max=1)
    tries = AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable), stop=stop_after_delay(seconds), wait=wait, reraise=True
    )
    try:
        async for attempt in tries:
            with attempt:
                try:
                    return await call(*args, **kwargs)
                except StoreUnavailable as again:
                    outcome_unknown |= again.outcome_unknown
                    raise
    except StoreUnavailable as last:
        if outcome_unknown and not last.outcome_unknown:
            raise StoreUnavailable(str(last), outcome_unknown=True) from last
        raise
    raise AssertionError("unreachable: the last failed try is raised again")

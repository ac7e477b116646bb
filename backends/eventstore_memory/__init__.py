"""An event store in memory: pure Python, no I/O, for fast unit tests that hold in production."""

from typing import cast

from eventstore.errors import InvalidUrl
from eventstore.urls import parse_options, split_query
from eventstore_memory.backend import MemoryBackend
from eventstore_memory.state import Clock

__all__ = ["Clock", "MemoryBackend", "open_backend"]


def open_backend(url: str, **options: object) -> MemoryBackend:
    """Return the backend for `memory://`. Its one option, `clock`, is passed as a keyword of `open_store`."""
    base, given = split_query(url, options)
    if base != "memory://":
        raise InvalidUrl("an in-memory store has neither host nor path: write memory://")
    return MemoryBackend(**parse_options(given, {"clock": _clock}))


def _clock(value: object) -> Clock:
    if not callable(value):
        raise TypeError("give a function that returns the time in UTC, as a keyword of open_store")
    return cast(Clock, value)

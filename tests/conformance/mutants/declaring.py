"""What a mutant is, and how it says by which tests it must be caught."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from eventstore import EventStore
from eventstore.backend import Backend
from eventstore.operations import Limits
from eventstore_conformance.chapter import MakeStore
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State, utc_now
from tests.conformance.mutants.sound import Database, SharedMemory
from tests.conformance.mutants.worlds import World

Broken: TypeAlias = Callable[..., Any]
"""A broken kind of `State`, `MemoryBackend`, `SharedMemory` or `EventStore`, or a function that makes broken stores."""

BrokenT = TypeVar("BrokenT", bound=Broken)


class Mutant(NamedTuple):
    """A broken store, the field failure that it models, and the tests that must catch it: at least one of them does."""

    name: str
    failure: str
    caught_by: tuple[str, ...]
    broken: Broken

    def stores(self) -> MakeStore:
        """Return what makes the stores of one test."""
        return stores_of(self.broken)

    @property
    def module(self) -> str:
        """The file that it stands in."""
        return self.broken.__module__.rpartition(".")[2]


MUTANTS: list[Mutant] = []
"""Those declared so far; the whole gallery is in gallery.py."""


def caught_by(*test_ids: str) -> Callable[[BrokenT], BrokenT]:
    """Declare a mutant, and the tests that must catch it."""

    def declare(broken: BrokenT) -> BrokenT:
        failure = " ".join((broken.__doc__ or "").split())
        MUTANTS.append(Mutant(broken.__name__, failure, test_ids, broken))
        return broken

    return declare


def stores_of(broken: Broken) -> MakeStore:
    """Return what makes the stores of one test, as `open_store` does of a URL."""
    if not isinstance(broken, type):
        return broken
    if issubclass(broken, World):
        return broken()
    if issubclass(broken, EventStore):
        return partial(_store, broken, MemoryBackend)
    if issubclass(broken, SharedMemory):
        return partial(_store, EventStore, partial(broken, Database()))
    if issubclass(broken, State):
        return partial(_store, EventStore, partial(_over_state, broken))
    backend: Any = broken
    return partial(_store, EventStore, backend)


def _over_state(broken: type[State]) -> MemoryBackend:
    backend = MemoryBackend()
    backend._state = broken(utc_now)
    return backend


def _store(kind: type[EventStore], make_backend: Callable[[], Backend], **options: Any) -> EventStore:
    # No second try: what a mutant breaks stays broken.
    retry_timeout = options.pop("retry_timeout", 0)
    return kind(make_backend(), limits=Limits(**options), retry_timeout=retry_timeout)

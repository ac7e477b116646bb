"""What every chapter of the suite is built on: the event-loop mark, and the stores that tests are given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cached_property, partial, wraps
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from eventstore import Capability, CapabilityNotSupported, EventStore, open_store
from eventstore_conformance.hooks import Hooks, MakeStore
from eventstore_conformance.outcomes import NotClaimed
from eventstore_conformance.patience import PATIENCE, bound_tests, opened

__all__ = ["Chapter", "MakeStore", "begin_transaction", "in_a_transaction", "where_claimed"]


class Chapter(Hooks):
    """The fixtures of the suite, all of them made from the author's `store_url`.

    A backend that no URL leads to overrides `make_store` instead, and one whose store needs special options overrides
    `store` as well.
    """

    # With its own scope, so that nothing in the author's settings matters.
    pytestmark = pytest.mark.asyncio(loop_scope="function")

    time_limit: float = PATIENCE
    """Seconds after which a test, or one of its examples, is taken to go on for ever."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # The chapters, not what an author adds to them.
        if Chapter in cls.__bases__:
            bound_tests(cls)

    @cached_property
    def namespace(self) -> str:
        """A random name, another one for every test: for a schema, a file, a prefix of keys."""
        return f"conformance_{uuid4().hex}"

    @pytest.fixture
    def make_store(self, store_url: str) -> MakeStore:
        """Return a function that makes stores, all of them on the database of the test."""
        return partial(open_store, store_url)

    @pytest_asyncio.fixture(loop_scope="function")
    async def store(self, make_store: MakeStore) -> AsyncIterator[EventStore]:
        """Open an empty store."""
        async with opened(make_store(), self.time_limit) as store:
            yield store

    @pytest_asyncio.fixture(loop_scope="function")
    async def small_pages_store(self, make_store: MakeStore) -> AsyncIterator[EventStore]:
        """Open an empty store that reads three events at a time."""
        async with opened(make_store(page_size=3), self.time_limit) as store:
            yield store

    @pytest_asyncio.fixture(loop_scope="function")
    async def two_stores(
        self, store: EventStore, second_store: MakeStore
    ) -> AsyncIterator[tuple[EventStore, EventStore]]:
        """Open two stores on one database where the backend is `SHARED`; otherwise it is one store, used twice."""
        if Capability.SHARED not in store.capabilities:
            yield store, store
            return
        async with opened(second_store(), self.time_limit) as second:
            yield store, second


def where_claimed(
    capability: Capability, refused: Callable[[EventStore], Awaitable[object]]
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Run a test where the backend claims the capability; elsewhere check that `refused` is refused for the lack of it.

    The test takes the fixture `store`, or `two_stores`.
    """

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        @wraps(test)
        async def claimed_or_refused(self: Chapter, **fixtures: Any) -> None:
            store: EventStore = fixtures["store"] if "store" in fixtures else fixtures["two_stores"][0]
            if capability in store.capabilities:
                await test(self, **fixtures)
                return
            with pytest.raises(CapabilityNotSupported) as refusal:
                await refused(store)
            assert capability.name in refusal.value.capability
            raise NotClaimed(capability)

        return claimed_or_refused

    return decorate


async def begin_transaction(store: EventStore) -> None:
    """Begin a transaction and end it."""
    async with store.transaction():
        pass


in_a_transaction = where_claimed(Capability.TRANSACTIONS, begin_transaction)
"""For tests that need `store.transaction()`."""

"""The hooks: what a test needs beside a store, and only the author of the backend can give.

Each is a fixture to be overridden. Where one is missing, the tests that need it are *not exercised*, by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from eventstore import NO_STREAM, Capability, EventStore, NewEvent
from eventstore_conformance.outcomes import NotClaimed, NotExercised

MakeStore: TypeAlias = Callable[..., EventStore]
"""Returns a store that is not open yet, on the database of the test; takes the options of `open_store`."""

HoldCommit: TypeAlias = Callable[[str, Sequence[NewEvent]], AbstractAsyncContextManager[None]]
"""Appends events to a new stream, and holds them before their commit while its block lasts.

Leaving the block commits; an exception in it rolls back.
"""


@dataclass(frozen=True)
class Line:
    """A line between stores and their server that can be cut at a chosen moment.

    `make_store` makes stores whose calls take this line, all on one connection. `lose_request()` cuts it when the next
    request is sent, before the server has it; `lose_reply()` lets the next request through, and cuts the line when the
    server answers. It can be used again at once.
    """

    make_store: MakeStore
    lose_request: Callable[[], None]
    lose_reply: Callable[[], None]


@dataclass(frozen=True)
class Server:
    """A server that can be killed, with the durability that users have by default.

    `make_store` makes stores on it; `kill_and_start()` ends it as a loss of power does, without a warning, and starts
    it again on what is left, at the same URL.
    """

    make_store: MakeStore
    kill_and_start: Callable[[], Awaitable[None]]


class Hooks:
    """The hooks, each with what can be done without an author's help."""

    @pytest.fixture
    def second_store(self, make_store: MakeStore) -> MakeStore:
        """Return a function that makes stores beside the first: on other machines, say. By default `make_store`."""
        return make_store

    @pytest.fixture
    def reopen(self, make_store: MakeStore) -> MakeStore:
        """Return a function that makes the store again once it was closed. By default `make_store`."""
        return make_store

    @pytest.fixture
    def hold_commit(self, two_stores: tuple[EventStore, EventStore]) -> HoldCommit:
        """Return a function that holds an append before its commit. By default by `transaction()`, if it is claimed."""
        store = two_stores[1]
        if Capability.TRANSACTIONS not in store.capabilities:
            raise NotExercised("hold_commit")

        def hold(stream_id: str, events: Sequence[NewEvent]) -> AbstractAsyncContextManager[None]:
            return held_in_a_transaction(store, stream_id, events)

        return hold

    @pytest.fixture
    def cut_connection(self) -> Line:
        """Return a line that can be cut."""
        raise NotExercised("cut_connection")

    @pytest.fixture
    def kill_server(self, make_store: MakeStore) -> Server:
        """Return a server that can be killed."""
        if Capability.DURABLE not in make_store().capabilities:
            raise NotClaimed(Capability.DURABLE)
        raise NotExercised("kill_server")

    @pytest.fixture
    def process_url(self, request: pytest.FixtureRequest) -> str:
        """Return the URL by which another process opens the store: `store_url`, where there is one."""
        try:
            url: str = request.getfixturevalue("store_url")
        except pytest.FixtureLookupError:
            raise NotExercised("store_url") from None
        return url


@asynccontextmanager
async def held_in_a_transaction(store: EventStore, stream_id: str, events: Sequence[NewEvent]) -> AsyncIterator[None]:
    """Append in a transaction of a task of its own, so that the test's own task may write meanwhile."""
    appended, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with store.transaction() as tx:
            await tx.append(stream_id, events, expected_version=NO_STREAM)
            appended.set()
            await release.wait()

    holder = asyncio.ensure_future(hold())
    waiting = asyncio.ensure_future(appended.wait())
    try:
        await asyncio.wait([holder, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not holder.done():
            yield
    except BaseException:
        holder.cancel()
        with suppress(asyncio.CancelledError):
            await holder
        raise
    else:
        release.set()
        await holder
    finally:
        waiting.cancel()

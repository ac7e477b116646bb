"""A store belongs to the event loop and the process that opened it, and tells everybody else so at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from eventstore import (
    ANY,
    Capability,
    CaughtUp,
    EventStore,
    NewEvent,
    OpenedElsewhere,
    RecordedEvent,
    StoreNotOpen,
    StreamWrite,
    open_store,
)
from tests.moving.making import file_of_events

pytestmark = pytest.mark.asyncio

T = TypeVar("T")
EVENT = NewEvent("Happened", {})


async def elsewhere(call: Coroutine[Any, Any, T]) -> T:
    """Run a call in another event loop, on another thread."""
    return await asyncio.to_thread(asyncio.run, call)


async def all_of(events: AsyncIterator[object]) -> list[object]:
    return [event async for event in events]


async def handle(event: RecordedEvent) -> None:
    """Do nothing."""


async def run_transaction(store: EventStore) -> None:
    async with store.transaction() as tx:
        await tx.append("cart-1", [EVENT], expected_version=ANY)


async def join(store: EventStore) -> None:
    store.bind(None)


Call = Callable[[EventStore], Coroutine[Any, Any, object]]

CALLS: dict[str, Call] = {
    "append": lambda store: store.append("cart-1", [EVENT], expected_version=ANY),
    "append_many": lambda store: store.append_many([StreamWrite("cart-1", [EVENT], ANY)]),
    "read_stream": lambda store: all_of(store.read_stream("cart-1")),
    "read_all": lambda store: all_of(store.read_all()),
    "head": lambda store: store.head(),
    "subscribe": lambda store: store.subscribe().__anext__(),
    "subscribe_stream": lambda store: store.subscribe_stream("cart-1").__anext__(),
    "stream_version": lambda store: store.stream_version("cart-1"),
    "stream_info": lambda store: store.stream_info("cart-1"),
    "list_streams": lambda store: all_of(store.list_streams()),
    "truncate_stream": lambda store: store.truncate_stream("cart-1", 2),
    "delete_stream": lambda store: store.delete_stream("cart-1", expected_version=ANY),
    "save_snapshot": lambda store: store.save_snapshot("cart-1", 1, {}),
    "load_snapshot": lambda store: store.load_snapshot("cart-1"),
    "delete_snapshots": lambda store: store.delete_snapshots("cart-1"),
    "save_checkpoint": lambda store: store.save_checkpoint("reader", 1, expected=0),
    "load_checkpoint": lambda store: store.load_checkpoint("reader"),
    "transaction": run_transaction,
    "bind": join,
    "consumer.run": lambda store: store.consumer("reader", handle).run(),
    "consumer.run_until_caught_up": lambda store: store.consumer("reader", handle).run_until_caught_up(),
    "consumer.status": lambda store: store.consumer("reader", handle).status(),
    "consumer.reset": lambda store: store.consumer("reader", handle).reset(),
    "consumers": lambda store: all_of(store.consumers()),
    "verify": lambda store: store.verify(),
    "export": lambda store: all_of(store.export()),
    "import_from": lambda store: store.import_from(file_of_events(("cart-9", 1))),
}
"""Every call of the public API that asks the database for something."""

BESIDE_CALLS: dict[str, Call] = {
    "open": lambda store: store.open(),
    "close": lambda store: store.close(),
    "migrate": lambda store: store.migrate(),
    "schema_version": lambda store: store.schema_version(),
    "consumer.stop": lambda store: store.consumer("reader", handle).stop(),
}
"""Those that are good for a store that is not open as well."""


def calls_of(store: EventStore) -> dict[str, Call]:
    joins = Capability.SQL_TRANSACTIONS in store.capabilities
    return {name: call for name, call in CALLS.items() if joins or name != "bind"}


def public_calls(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


async def test_the_calls_below_are_all_that_there_are() -> None:
    assert public_calls(EventStore) - {"capabilities", "consumer"} == {
        name for name in CALLS | BESIDE_CALLS if "." not in name
    }


async def test_every_call_from_another_loop_and_thread_is_refused(store: EventStore) -> None:
    for name, call in (calls_of(store) | BESIDE_CALLS).items():
        with pytest.raises(OpenedElsewhere, match="another event loop") as refusal:
            await asyncio.wait_for(elsewhere(call(store)), 30)
        assert not refusal.value.forked, name
    assert await store.append("cart-1", [EVENT], expected_version=0), "the store goes on where it was opened"


async def test_every_call_on_a_closed_store_says_that_it_is_closed(store: EventStore) -> None:
    await store.close()
    for name, call in calls_of(store).items():
        with pytest.raises(StoreNotOpen) as refusal:
            await asyncio.wait_for(call(store), 30)
        assert refusal.value.closed, name


async def test_a_loop_that_comes_after_the_one_that_opened_the_store_is_refused(url: str) -> None:
    def in_two_loops() -> None:
        store = open_store(url)
        with asyncio.Runner() as first:
            first.run(store.open())
            with asyncio.Runner() as second, pytest.raises(OpenedElsewhere):
                second.run(store.append("cart-1", [EVENT], expected_version=ANY))
            first.run(store.close())

    await asyncio.to_thread(in_two_loops)


async def test_a_transaction_is_refused_to_another_loop(store: EventStore) -> None:
    async with store.transaction() as tx:
        for call in (tx.append("cart-1", [EVENT], expected_version=0), tx.stream_version("cart-1")):
            with pytest.raises(OpenedElsewhere):
                await elsewhere(call)
        await tx.append("cart-1", [EVENT], expected_version=0)
    assert await store.stream_version("cart-1") == 1


async def test_a_subscription_that_waits_in_one_loop_is_refused_to_another(store: EventStore) -> None:
    subscription = store.subscribe()
    assert await anext(subscription.with_signals()) == CaughtUp()
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    with pytest.raises(OpenedElsewhere):
        await asyncio.wait_for(elsewhere(subscription.__anext__()), 30)
    (recorded,) = await store.append("cart-1", [EVENT], expected_version=0)
    assert await waiting == recorded


async def test_a_closed_store_may_be_closed_again_from_anywhere(store: EventStore) -> None:
    await store.close()
    await elsewhere(store.close())


async def test_a_store_that_is_not_open_belongs_to_nobody(url: str) -> None:
    store = open_store(url)
    await elsewhere(store.schema_version())
    await elsewhere(store.migrate())
    async with store:
        await store.append("cart-1", [EVENT], expected_version=0)


async def test_a_thread_may_hand_its_calls_to_the_loop_of_the_store(store: EventStore) -> None:
    loop = asyncio.get_running_loop()

    def append() -> list[RecordedEvent]:
        call: Coroutine[Any, Any, list[RecordedEvent]] = store.append("cart-1", [EVENT], expected_version=0)
        assert threading.current_thread() is not threading.main_thread()
        return asyncio.run_coroutine_threadsafe(call, loop).result(30)

    assert await asyncio.to_thread(append) == [event async for event in store.read_stream("cart-1")]

"""Chapter Opening: stores are opened and closed, are durable or not, shared or not, as their backend claims."""

from __future__ import annotations

import asyncio

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    Capability,
    EventStore,
    EventStoreError,
    InvalidArgument,
    OpenedElsewhere,
    StoreNotOpen,
    StreamDeleted,
)
from eventstore_conformance.chapter import Chapter, MakeStore
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import collect, log_of, stream_of, streams_of
from eventstore_conformance.outcomes import NotClaimed
from eventstore_conformance.patience import in_time


class Opening(Chapter):
    """`open`, `close`, `migrate`, and the capabilities."""

    async def test_a_new_store_is_empty(self, store: EventStore) -> None:
        """OPEN-01: `store_url` leads to an empty store, as the suite needs it."""
        assert await log_of(store) == []
        assert await streams_of(store) == []
        assert await store.head() == 0

    async def test_a_store_that_is_not_open_refuses_calls(self, make_store: MakeStore) -> None:
        """OPEN-02: Before it is opened, a store raises `StoreNotOpen` for reads and for writes."""
        await check_not_open(make_store(), closed=False)

    async def test_a_closed_store_refuses_calls(self, make_store: MakeStore) -> None:
        """OPEN-03: A closed store raises `StoreNotOpen`, and cannot be opened again."""
        async with make_store() as store:
            await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        await check_not_open(store, closed=True)
        with pytest.raises(StoreNotOpen):
            await store.open()

    async def test_opening_and_closing_twice_is_once(self, make_store: MakeStore) -> None:
        """OPEN-04: `open` on an open store and `close` on a closed one do nothing."""
        store = make_store()
        await store.open()
        await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        await store.open()
        assert await store.stream_version("cart-1") == 1
        await store.close()
        await store.close()

    async def test_a_store_may_be_closed_unopened(self, make_store: MakeStore) -> None:
        """OPEN-05: Closing a store that was never opened does nothing."""
        await make_store().close()

    async def test_an_exception_closes_the_store(self, make_store: MakeStore) -> None:
        """OPEN-06: `async with` closes the store when its block raises, and lets the exception pass."""
        store = make_store()

        async def work() -> None:
            async with store:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await work()
        await check_not_open(store, closed=True)

    async def test_migrating_again_changes_nothing(self, store: EventStore) -> None:
        """OPEN-07: An open store has a schema; migrating it again leaves it, and what it holds, as it is."""
        recorded = await store.append("cart-1", some_events(2), expected_version=NO_STREAM)
        version = await store.schema_version()
        assert version >= 1
        await store.migrate()
        assert await store.schema_version() == version
        assert await log_of(store) == recorded

    async def test_what_was_written_survives_reopening(self, make_store: MakeStore, reopen: MakeStore) -> None:
        """OPEN-08: A `DURABLE` store has everything when it is opened again."""
        batch = some_events(3)
        async with make_store() as store:
            durable = Capability.DURABLE in store.capabilities
            await store.append("kept-1", batch, expected_version=NO_STREAM)
            await store.append("cut-1", some_events(3), expected_version=NO_STREAM)
            await store.append("gone-1", some_events(3), expected_version=NO_STREAM)
            await store.truncate_stream("cut-1", 99)
            await store.delete_stream("gone-1", expected_version=3)
            await store.save_snapshot("kept-1", 3, {"state": 3})
            await store.save_checkpoint("reader", 7, expected=0)
            before = await everything_in(store)
        async with reopen() as store:
            if not durable:
                raise NotClaimed(Capability.DURABLE, works=bool(await log_of(store)))
            assert await everything_in(store) == before
            with pytest.raises(StreamDeleted):
                await stream_of(store, "gone-1")
            assert await store.append("kept-1", batch, expected_version=NO_STREAM) == await stream_of(store, "kept-1")
            (next_one,) = await store.append("cut-1", some_events(1), expected_version=3)
            assert next_one.version == 4

    async def test_two_stores_on_one_url_share_everything(self, store: EventStore, second_store: MakeStore) -> None:
        """OPEN-09: Where the backend is `SHARED`, the other store sees at once what one writes."""
        recorded = await store.append("cart-1", some_events(2), expected_version=NO_STREAM)
        if Capability.SHARED not in store.capabilities:
            raise NotClaimed(Capability.SHARED, works=await sees_something(second_store()))
        async with second_store() as second:
            assert await log_of(second) == recorded
            recorded += await second.append("cart-1", some_events(1), expected_version=2)
            assert await stream_of(store, "cart-1") == recorded
            await store.save_snapshot("cart-1", 3, {})
            await store.save_checkpoint("reader", 7, expected=0)
            assert await everything_in(second) == await everything_in(store)
            await second.delete_stream("cart-1", expected_version=3)
            with pytest.raises(StreamDeleted):
                await store.append("cart-1", some_events(1), expected_version=ANY)
        assert await log_of(store) == recorded

    async def test_capabilities_make_sense_together(self, store: EventStore) -> None:
        """OPEN-10: Capabilities are a set of `Capability`; a backend that runs SQL with events runs transactions."""
        assert store.capabilities <= frozenset(Capability)
        if Capability.SQL_TRANSACTIONS in store.capabilities:
            assert Capability.TRANSACTIONS in store.capabilities

    async def test_bad_options_are_refused(self, make_store: MakeStore) -> None:
        """OPEN-11: Options out of range raise `InvalidArgument` before anything is opened."""
        for options in (
            {"page_size": 0},
            {"page_size": "3"},
            {"max_event_size": 1},
            {"max_event_size": True},
            {"retry_timeout": -1},
            {"retry_timeout": "5"},
            {"retry_timeout": float("nan")},
        ):
            with pytest.raises(InvalidArgument) as refusal:
                make_store(**options)
            assert refusal.value.argument in options

    async def test_a_store_refuses_calls_from_another_event_loop(self, store: EventStore) -> None:
        """OPEN-12: From another event loop than the one that opened it, calls raise `OpenedElsewhere` at once."""
        for call in (
            store.append("cart-1", some_events(1), expected_version=ANY),
            collect(store.read_stream("cart-1")),
            collect(store.read_all()),
            anext(store.subscribe()),
            store.head(),
            store.save_checkpoint("reader", 1, expected=0),
            store.open(),
            store.close(),
        ):
            with pytest.raises(OpenedElsewhere) as refusal:
                await asyncio.to_thread(asyncio.run, in_time(call, "a call from another event loop"))
            assert not refusal.value.forked
        recorded = await store.append("cart-1", some_events(1), expected_version=NO_STREAM)
        assert await log_of(store) == recorded


async def sees_something(store: EventStore) -> bool:
    """Tell whether a store beside another sees what that wrote; it may as well refuse to be opened."""
    try:
        async with store:
            return bool(await log_of(store))
    except EventStoreError:
        return False


async def everything_in(store: EventStore) -> list[object]:
    """Return all that the tests of this chapter write."""
    return [
        await log_of(store),
        await streams_of(store),
        await store.load_snapshot("kept-1"),
        await store.load_snapshot("cart-1"),
        await store.load_checkpoint("reader"),
        await store.head(),
    ]


async def check_not_open(store: EventStore, *, closed: bool) -> None:
    """Check that every kind of call is refused."""
    for call in (
        store.append("cart-1", some_events(1), expected_version=ANY),
        collect(store.read_stream("cart-1")),
        collect(store.read_all()),
        collect(store.list_streams()),
        store.stream_info("cart-1"),
        store.head(),
        store.load_snapshot("cart-1"),
        store.load_checkpoint("reader"),
        store.save_checkpoint("reader", 1, expected=0),
        store.truncate_stream("cart-1", 1),
        store.delete_stream("cart-1", expected_version=ANY),
    ):
        with pytest.raises(StoreNotOpen) as refusal:
            await call
        assert refusal.value.closed is closed

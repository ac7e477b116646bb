"""What another store recorded keeps its versions and times in a folder, and is stored wholly or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from eventstore import EventStore, NewEvent, open_store
from eventstore.backend import Conflict, EncodedEvent, RestoredEvent, StreamInfo, StreamState
from eventstore.errors import StorageError
from eventstore_lmdb import LmdbBackend

pytestmark = pytest.mark.asyncio

LONG_AGO = datetime(1969, 5, 4, 12, 30, 15, 123457, UTC)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[EventStore]:
    async with open_store(f"lmdb:///{tmp_path / 'events'}", map_size=2_000_000) as store:
        yield store


@pytest.fixture
def backend(store: EventStore) -> LmdbBackend:
    assert isinstance(store._backend, LmdbBackend)
    return store._backend


def recorded(stream_id: str, version: int, *, second: int = 0, data: bytes = b"{}") -> RestoredEvent:
    event = EncodedEvent(uuid4(), "Added", data, b"{}")
    return RestoredEvent(stream_id, "cart", version, event, LONG_AGO + timedelta(seconds=second))


async def test_events_keep_their_versions_and_times_in_the_order_of_the_list(
    store: EventStore, backend: LmdbBackend
) -> None:
    listed = [recorded("cart-2", 1, second=2), recorded("cart-1", 1, second=1), recorded("cart-2", 2, second=2)]
    assert await backend.restore(listed) == (1, 2, 3)
    assert [(event.stream_id, event.version, event.event_id, event.created_at) async for event in store.read_all()] == [
        (event.stream_id, event.version, event.event.event_id, event.created_at) for event in listed
    ]
    assert await backend.restore([recorded("cart-2", 3, second=3)]) == (4,)
    (event,) = await store.append("cart-2", [NewEvent("Added", {})], expected_version=3)
    assert event.global_position == 5
    assert (await store.verify()).is_sound


REFUSED = {
    "a version is left out": (recorded("cart-1", 4, second=9), StreamState("cart-1", 2, deleted=False)),
    "time goes back": (recorded("cart-1", 3, second=1), StreamState("cart-1", 2, deleted=False)),
    "an empty stream begins again": (recorded("empty-1", 1, second=9), StreamState("empty-1", 2, deleted=False)),
    "time goes back behind what is gone": (
        recorded("empty-1", 3, second=1),
        StreamState("empty-1", 2, deleted=False),
    ),
    "a stream is deleted": (recorded("deleted-1", 3, second=9), StreamState("deleted-1", 2, deleted=True)),
    "a stream is erased": (recorded("erased-1", 3, second=9), StreamState("erased-1", 2, deleted=True)),
}


async def fill(store: EventStore, backend: LmdbBackend) -> None:
    for stream_id in ("cart-1", "empty-1", "deleted-1", "erased-1"):
        await backend.restore([recorded(stream_id, version, second=version) for version in (1, 2)])
    await store.truncate_stream("empty-1", 3)
    await store.delete_stream("deleted-1", expected_version=2)
    await store.delete_stream("erased-1", expected_version=2, erase=True)


@pytest.mark.parametrize("reason", REFUSED)
async def test_what_does_not_follow_is_refused_with_all_beside_it(
    store: EventStore, backend: LmdbBackend, reason: str
) -> None:
    refused, state = REFUSED[reason]
    await fill(store, backend)
    outcome = await backend.restore([recorded("cart-9", 1), refused])
    assert outcome == Conflict((StreamState("cart-9", 0, deleted=False), state), ())
    assert await store.head() == 8
    assert await store.stream_info("cart-9") is None


async def test_what_is_stored_is_refused_and_shown(store: EventStore, backend: LmdbBackend) -> None:
    listed = [recorded("cart-1", 1), recorded("cart-1", 2)]
    await backend.restore(listed)
    stored = tuple([event async for event in store.read_all()])
    assert await backend.restore(listed) == Conflict((StreamState("cart-1", 2, deleted=False),), stored)


async def test_what_does_not_fit_leaves_nothing(store: EventStore, backend: LmdbBackend) -> None:
    too_much = [recorded("cart-1", version, data=b'{"text": "%s"}' % (b"x" * 9_000)) for version in range(1, 999)]
    with pytest.raises(StorageError, match="map_size"):
        await backend.restore(too_much)
    assert await store.head() == 0
    assert await backend.restore(too_much[:9]) == tuple(range(1, 10))
    assert (await store.verify()).is_sound


async def test_a_restored_stream_is_at_its_version_with_no_event_left(store: EventStore, backend: LmdbBackend) -> None:
    assert await backend.restore_stream("cart-1", 7) is None
    info = StreamInfo("cart-1", "cart", 7, 8, deleted=False)
    assert await store.stream_info("cart-1") == info
    assert [listed async for listed in store.list_streams()] == [info]
    assert await backend.restore([recorded("cart-1", 8)]) == (1,)
    (event,) = await store.append("cart-1", [NewEvent("Added", {})], expected_version=8)
    assert event.version == 9
    assert (await store.verify()).is_sound


async def test_an_empty_stream_goes_further_and_not_back(store: EventStore, backend: LmdbBackend) -> None:
    await fill(store, backend)
    for version in (2, 7, 7):
        assert await backend.restore_stream("empty-1", version) is None
        info = StreamInfo("empty-1", "empty", version, version + 1, deleted=False)
        assert await store.stream_info("empty-1") == info
    assert await backend.restore_stream("empty-1", 6) == StreamState("empty-1", 7, deleted=False)
    assert await store.stream_info("empty-1") == info
    assert [event.version for event in await store.append("empty-1", [NewEvent("Added", {})], expected_version=7)] == [
        8
    ]
    assert (await store.verify()).is_sound


async def test_the_time_of_a_stream_that_goes_further_does_not_go_back(store: EventStore, backend: LmdbBackend) -> None:
    await fill(store, backend)
    await backend.restore_stream("empty-1", 7)
    outcome = await backend.restore([recorded("empty-1", 8, second=1)])
    assert outcome == Conflict((StreamState("empty-1", 7, deleted=False),), ())
    assert await backend.restore([recorded("empty-1", 8, second=2)]) == (9,)


@pytest.mark.parametrize("stream_id", ["cart-1", "deleted-1", "erased-1"])
async def test_a_stream_with_events_or_a_tombstone_stays_as_it_is(
    store: EventStore, backend: LmdbBackend, stream_id: str
) -> None:
    await fill(store, backend)
    before = await store.stream_info(stream_id)
    state = StreamState(stream_id, 2, deleted=stream_id != "cart-1")
    for version in (1, 2, 9):
        assert await backend.restore_stream(stream_id, version) == state
    assert await store.stream_info(stream_id) == before

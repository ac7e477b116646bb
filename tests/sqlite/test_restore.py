"""What another store recorded is restored with its versions and times, wholly or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from eventstore import EventStore
from eventstore.backend import Conflict, StreamInfo, StreamState
from tests.sqlite.making import (
    backend_of,
    content_of_tables,
    event,
    events,
    positions,
    recorded_elsewhere,
    stream_elsewhere,
    versions,
)

pytestmark = pytest.mark.asyncio

LATER = 10**6
"""Seconds after `LONG_AGO`."""


# --- Events ----------------------------------------------------------------------------------------------------------


async def test_events_keep_their_versions_and_times_and_get_positions_in_their_order(store: EventStore) -> None:
    await store.append("before-1", [event()], expected_version=0)
    listed = [
        recorded_elsewhere("order-1", 1, second=3),
        recorded_elsewhere("invoice-1", 1, second=1),
        recorded_elsewhere("order-1", 2, second=3),
        recorded_elsewhere("invoice-1", 2, second=2),
        recorded_elsewhere("order-1", 3, second=4),
    ]
    assert await backend_of(store).restore(listed) == (2, 3, 4, 5, 6)
    found = [recorded async for recorded in store.read_all(after=1)]
    assert [(each.stream_id, each.stream_type, each.version, each.event_id, each.created_at) for each in found] == [
        (each.stream_id, each.stream_type, each.version, each.event.event_id, each.created_at) for each in listed
    ]
    assert found[1].created_at.isoformat() == "2019-05-04T12:30:16.123457+00:00"
    assert (await store.verify()).is_sound


async def test_what_is_restored_is_taken_up_where_it_ended(store: EventStore) -> None:
    backend = backend_of(store)
    first, second = stream_elsewhere("order-1", 2)
    assert await backend.restore([first]) == (1,)
    assert await backend.restore([second]) == (2,)
    (third,) = await store.append("order-1", [event()], expected_version=2)
    assert (third.version, third.global_position) == (3, 3)
    outcome = await backend.restore([recorded_elsewhere("order-1", 3, second=2)])
    assert outcome == Conflict((StreamState("order-1", 3, deleted=False),), ())


async def test_an_append_gets_no_time_before_those_restored(store: EventStore) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await backend_of(store).restore([msgspec.structs.replace(recorded_elsewhere("order-1", 1), created_at=tomorrow)])
    (appended,) = await store.append("order-1", [event()], expected_version=1)
    assert appended.created_at == tomorrow


@pytest.mark.parametrize("year", [1, 1969, 9999])
async def test_a_time_may_be_any_that_python_knows(store: EventStore, year: int) -> None:
    backend = backend_of(store)
    at = datetime(year, 12, 31, 23, 59, 59, 999999, UTC)
    first, second, third = (
        msgspec.structs.replace(restored, created_at=at) for restored in stream_elsewhere("order-1", 3)
    )
    assert await backend.restore([first]) == (1,)
    assert await backend.restore([second]) == (2,)
    await store.truncate_stream("order-1", 3)
    assert await backend.restore([third]) == (3,)
    (found,) = [recorded async for recorded in store.read_stream("order-1")]
    assert found.created_at == at


async def test_after_a_stream_of_which_nothing_is_left_any_time_may_follow(store: EventStore) -> None:
    assert await backend_of(store).restore_stream("order-1", 2) is None
    third = msgspec.structs.replace(recorded_elsewhere("order-1", 3), created_at=datetime(1, 1, 1, tzinfo=UTC))
    assert await backend_of(store).restore([third]) == (1,)


async def test_json_text_is_stored_as_it_is(path: Path, store: EventStore) -> None:
    data = '{"a": 1.0, "b":1e23,  "text":"quote \\" \\\\ \\u2028 é \U0001f600"}'
    await backend_of(store).restore([recorded_elsewhere("order-1", 1, data=data.encode())])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT data, metadata FROM events").fetchall() == [(data, "{}")]


async def test_nothing_to_restore_has_no_positions(store: EventStore) -> None:
    assert await backend_of(store).restore([]) == ()


# --- What is refused -------------------------------------------------------------------------------------------------


STATES = {
    "order-1": StreamState("order-1", 3, deleted=False),
    "truncated-1": StreamState("truncated-1", 3, deleted=False),
    "empty-1": StreamState("empty-1", 3, deleted=False),
    "restored-1": StreamState("restored-1", 3, deleted=False),
    "deleted-1": StreamState("deleted-1", 3, deleted=True),
    "erased-1": StreamState("erased-1", 3, deleted=True),
    "unborn-1": StreamState("unborn-1", 0, deleted=True),
}


async def fill(store: EventStore) -> None:
    """Let there be the streams of `STATES`; `empty-1`, `restored-1` and `erased-1` have no event left."""
    backend = backend_of(store)
    for stream_id in ("order-1", "truncated-1", "empty-1", "deleted-1", "erased-1"):
        await backend.restore(stream_elsewhere(stream_id, 3))
    await store.truncate_stream("truncated-1", 3)
    await store.truncate_stream("empty-1", 4)
    await store.delete_stream("deleted-1", expected_version=3)
    await store.delete_stream("erased-1", expected_version=3, erase=True)
    await store.delete_stream("unborn-1", expected_version=0)
    assert await backend.restore_stream("restored-1", 3) is None


REFUSED = {
    "a version is left out": recorded_elsewhere("order-1", 5, second=LATER),
    "a version is there": recorded_elsewhere("order-1", 3, second=LATER),
    "a new stream begins late": recorded_elsewhere("new-1", 2, second=LATER),
    "time goes back": recorded_elsewhere("order-1", 4, second=2),
    "time goes back behind what was truncated": recorded_elsewhere("empty-1", 4, second=2),
    "a truncated stream begins again": recorded_elsewhere("truncated-1", 1, second=LATER),
    "an empty stream begins again": recorded_elsewhere("empty-1", 1, second=LATER),
    "a restored stream begins again": recorded_elsewhere("restored-1", 1, second=LATER),
    "a deleted stream goes on": recorded_elsewhere("deleted-1", 4, second=LATER),
    "a deleted stream begins again": recorded_elsewhere("deleted-1", 1, second=LATER),
    "an erased stream goes on": recorded_elsewhere("erased-1", 4, second=LATER),
    "an erased stream begins again": recorded_elsewhere("erased-1", 1, second=LATER),
    "a stream was deleted before it began": recorded_elsewhere("unborn-1", 1, second=LATER),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_what_does_not_follow_is_refused_with_all_beside_it(path: Path, store: EventStore, reason: str) -> None:
    refused = REFUSED[reason]
    state = STATES.get(refused.stream_id, StreamState(refused.stream_id, 0, deleted=False))
    await fill(store)
    before = content_of_tables(path)
    listed = [recorded_elsewhere("beside-1", 1), refused, recorded_elsewhere("beside-1", 2)]
    outcome = await backend_of(store).restore(listed)
    assert outcome == Conflict((StreamState("beside-1", 0, deleted=False), state), ())
    assert content_of_tables(path) == before
    assert (await store.verify()).is_sound


async def test_an_event_that_is_stored_is_refused_and_shown(path: Path, store: EventStore) -> None:
    await fill(store)
    (stored,) = [recorded async for recorded in store.read_stream("order-1", from_version=3)]
    before = content_of_tables(path)
    again = recorded_elsewhere("beside-1", 2, event_id=stored.event_id)
    outcome = await backend_of(store).restore([recorded_elsewhere("beside-1", 1), again])
    assert outcome == Conflict((StreamState("beside-1", 0, deleted=False),), (stored,))
    assert content_of_tables(path) == before


async def test_the_same_events_again_are_refused_and_shown_in_their_order(store: EventStore) -> None:
    listed = [*stream_elsewhere("order-2", 2), *stream_elsewhere("order-1", 2)]
    assert await backend_of(store).restore(listed) == (1, 2, 3, 4)
    outcome = await backend_of(store).restore(listed)
    assert isinstance(outcome, Conflict)
    assert outcome.streams == (StreamState("order-2", 2, deleted=False), StreamState("order-1", 2, deleted=False))
    assert [recorded.global_position for recorded in outcome.stored] == [1, 2, 3, 4]


@pytest.mark.parametrize("stream_id", ["order-1", "truncated-1", "empty-1", "restored-1"])
async def test_whatever_is_left_of_a_stream_it_goes_on(store: EventStore, stream_id: str) -> None:
    await fill(store)
    outcome = await backend_of(store).restore([recorded_elsewhere(stream_id, 4, second=3)])
    assert outcome == (await store.head(),)
    assert (await versions(store, stream_id))[-1] == 4
    assert (await store.verify()).is_sound


async def test_a_refused_restore_draws_no_position(store: EventStore) -> None:
    backend = backend_of(store)
    await backend.restore(stream_elsewhere("order-1", 3))
    refused = await backend.restore([*stream_elsewhere("order-2", 9), recorded_elsewhere("order-1", 9)])
    assert isinstance(refused, Conflict)
    assert await store.head() == 3
    await backend.restore([recorded_elsewhere("order-2", 1)])
    assert await positions(store) == [1, 2, 3, 4]


# --- Streams of which nothing is left --------------------------------------------------------------------------------


async def test_a_restored_stream_is_as_one_that_was_truncated(store: EventStore) -> None:
    backend = backend_of(store)
    await store.append("order-1", events(7), expected_version=0)
    await store.truncate_stream("order-1", 8)
    assert await backend.restore_stream("order-2", 7) is None
    truncated, restored = [info async for info in store.list_streams()]
    assert restored == await store.stream_info("order-2") == StreamInfo("order-2", "order", 7, 8, deleted=False)
    assert restored == msgspec.structs.replace(truncated, stream_id="order-2")
    assert await versions(store, "order-2") == []
    assert await store.head() == 7
    assert (await store.verify()).is_sound


async def test_a_restored_stream_goes_on_with_its_next_version(store: EventStore) -> None:
    assert await backend_of(store).restore_stream("order-1", 7) is None
    (appended,) = await store.append("order-1", [event()], expected_version=7)
    assert (appended.version, appended.global_position) == (8, 1)
    assert datetime.now(UTC) - appended.created_at < timedelta(minutes=1)
    assert await store.truncate_stream("order-1", 9) == 1
    await store.delete_stream("order-1", expected_version=8)
    assert (await store.verify()).is_sound


EMPTY = ("empty-1", "restored-1")


@pytest.mark.parametrize("stream_id", EMPTY)
async def test_an_empty_stream_goes_further(path: Path, store: EventStore, stream_id: str) -> None:
    await fill(store)
    await store.save_snapshot(stream_id, 2, {"n": 2})
    others = await others_than(stream_id, store)
    assert await backend_of(store).restore_stream(stream_id, 7) is None
    info = StreamInfo(stream_id, stream_id.partition("-")[0], 7, 8, deleted=False)
    assert await store.stream_info(stream_id) == info
    assert await versions(store, stream_id) == []
    assert await others_than(stream_id, store) == others
    snapshot = await store.load_snapshot(stream_id)
    assert snapshot is not None
    assert snapshot.version == 2
    assert (await store.verify()).is_sound


async def others_than(stream_id: str, store: EventStore) -> list[StreamInfo]:
    return [info async for info in store.list_streams(include_deleted=True) if info.stream_id != stream_id]


@pytest.mark.parametrize("stream_id", EMPTY)
async def test_a_stream_that_went_further_goes_on_from_there(store: EventStore, stream_id: str) -> None:
    await fill(store)
    backend = backend_of(store)
    await backend.restore_stream(stream_id, 7)
    for version in (1, 4, 7, 9):
        outcome = await backend.restore([recorded_elsewhere(stream_id, version, second=LATER)])
        assert outcome == Conflict((StreamState(stream_id, 7, deleted=False),), ())
    (appended,) = await store.append(stream_id, [event()], expected_version=7)
    assert appended.version == 8
    assert await store.truncate_stream(stream_id, 9) == 1
    assert await backend.restore_stream(stream_id, 11) is None
    (appended,) = await store.append(stream_id, [event()], expected_version=11)
    assert appended.version == 12
    assert (await store.verify()).is_sound


async def test_the_time_of_a_stream_that_goes_further_does_not_go_back(store: EventStore) -> None:
    backend = backend_of(store)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for number in (1, 2):
        last = msgspec.structs.replace(recorded_elsewhere(f"order-{number}", 1), created_at=tomorrow)
        await backend.restore([last])
        await store.truncate_stream(f"order-{number}", 2)
        assert await backend.restore_stream(f"order-{number}", 7) is None
    (appended,) = await store.append("order-1", [event()], expected_version=7)
    assert appended.created_at == tomorrow
    outcome = await backend.restore([recorded_elsewhere("order-2", 8, second=LATER)])
    assert outcome == Conflict((StreamState("order-2", 7, deleted=False),), ())


@pytest.mark.parametrize("stream_id", EMPTY)
async def test_an_empty_stream_that_is_at_the_version_stays_as_it_is(
    path: Path, store: EventStore, stream_id: str
) -> None:
    await fill(store)
    before = content_of_tables(path)
    assert await backend_of(store).restore_stream(stream_id, 3) is None
    assert content_of_tables(path) == before


@pytest.mark.parametrize("stream_id", EMPTY)
async def test_an_empty_stream_does_not_go_back(path: Path, store: EventStore, stream_id: str) -> None:
    await fill(store)
    before = content_of_tables(path)
    assert await backend_of(store).restore_stream(stream_id, 2) == STATES[stream_id]
    assert content_of_tables(path) == before


@pytest.mark.parametrize("stream_id", sorted(STATES.keys() - EMPTY))
async def test_a_stream_with_events_or_a_tombstone_stays_as_it_is(
    path: Path, store: EventStore, stream_id: str
) -> None:
    await fill(store)
    before = content_of_tables(path)
    for version in (1, 3, 9):
        assert await backend_of(store).restore_stream(stream_id, version) == STATES[stream_id]
    assert content_of_tables(path) == before

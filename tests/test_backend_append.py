"""`Backend.append` with several transactions at once: each succeeds or fails on its own, in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from eventstore import ANY, NO_STREAM, ExpectedVersion, NewEvent
from eventstore.backend import Appended, Backend, Conflict, Direction, EncodedEvent, StreamAppend
from eventstore.events import stream_type_of
from eventstore.registry import find_backend
from eventstore.urls import scheme_of

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["memory", "sqlite", "sqlite in a file", "postgres"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    match request.param:
        case "memory":
            url = "memory://"
        case "sqlite":
            url = "sqlite://"
        case "postgres":
            url = request.getfixturevalue("postgres_url")
        case _:
            url = f"sqlite:///{tmp_path}/events.db"
    backend = find_backend(scheme_of(url))(url)
    await backend.open()
    yield backend
    await backend.close()


def to(stream_id: str, expected_version: ExpectedVersion, event: NewEvent | None = None) -> StreamAppend:
    event_id = (event or NewEvent("Written", {})).event_id
    encoded = EncodedEvent(event_id, "Written", b"{}", b"{}")
    return StreamAppend(stream_id, stream_type_of(stream_id), expected_version, (encoded,))


def versions(outcomes: object) -> list[object]:
    """Show outcomes as the first version of each stream, or the versions that a conflict found."""
    assert isinstance(outcomes, (list, tuple))
    return [
        [stream.first_version for stream in outcome.streams]
        if isinstance(outcome, Appended)
        else {state.stream_id: state.version for state in outcome.streams}
        for outcome in outcomes
    ]


async def test_a_conflict_leaves_its_neighbours_alone(backend: Backend) -> None:
    outcomes = await backend.append([[to("a-1", NO_STREAM)], [to("b-1", 7)], [to("c-1", ANY)]])
    assert versions(outcomes) == [[1], {"b-1": 0}, [1]]
    assert [event.stream_id for event in (await backend.read_all(None, 9, Direction.FORWARD, None)).events] == [
        "a-1",
        "c-1",
    ]


async def test_transactions_on_one_stream_follow_each_other(backend: Backend) -> None:
    outcomes = await backend.append([[to("a-1", NO_STREAM)], [to("a-1", 1)], [to("a-1", 1)], [to("a-1", ANY)]])
    assert versions(outcomes) == [[1], [2], {"a-1": 2}, [3]]


async def test_a_transaction_of_the_list_is_all_or_nothing(backend: Backend) -> None:
    outcomes = await backend.append([[to("a-1", ANY), to("b-1", 3)], [to("a-1", NO_STREAM), to("b-1", NO_STREAM)]])
    assert versions(outcomes) == [{"a-1": 0, "b-1": 0}, [1, 1]]


async def test_the_same_id_in_two_transactions_is_stored_once(backend: Backend) -> None:
    event = NewEvent("Written", {})
    first, second = await backend.append([[to("a-1", ANY, event)], [to("b-1", ANY, event)]])
    assert isinstance(first, Appended)
    assert isinstance(second, Conflict)
    assert [(stored.event_id, stored.stream_id) for stored in second.stored] == [(event.event_id, "a-1")]


async def test_no_transactions_have_no_outcomes(backend: Backend) -> None:
    assert list(await backend.append([])) == []

"""`EventStore.verify` over backends whose answers do not fit together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    EventStore,
    NewEvent,
    ProblemKind,
    StoreUnavailable,
    StreamInfo,
)
from eventstore.backend import Checkpoint, Direction, LogPage, Place
from eventstore.filters import Filter
from eventstore.verifying import second_look
from eventstore_memory import MemoryBackend
from tests.damaging import Found, fill, found_in

pytestmark = pytest.mark.asyncio


class Lying(MemoryBackend):
    """A store that is told what to leave out or change of its answers, once it was filled."""

    def __init__(self) -> None:
        super().__init__()
        self.of_log: Callable[[Any], Any] = lambda event: event
        self.of_places: Callable[[Place], Place | None] = lambda place: place
        self.of_list: Callable[[StreamInfo], StreamInfo | None] = lambda info: info

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        return msgspec.structs.replace(page, events=_told(page.events, self.of_log))

    async def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        return _told(await super().list_places(after, 2**31), self.of_places)[:limit]

    async def list_streams(
        self, stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
    ) -> list[StreamInfo]:
        found = await super().list_streams(stream_type, prefix, after, limit, include_deleted=include_deleted)
        return _told(found, self.of_list)


def _told(items: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    return [changed for item in items if (changed := change(item)) is not None]


@pytest.fixture
def backend() -> Lying:
    return Lying()


@pytest_asyncio.fixture
async def store(backend: Lying) -> AsyncIterator[EventStore]:
    async with EventStore(backend, retry_timeout=0) as store:
        await fill(store)
        yield store


async def test_an_event_that_only_the_stream_has_is_reported(store: EventStore, backend: Lying) -> None:
    backend.of_log = lambda event: None if event.global_position == 3 else event
    assert await found_in(store) == [Found(ProblemKind.NOT_IN_LOG, "order-1", 3, 3)]


async def test_an_event_that_only_the_log_has_is_reported(store: EventStore, backend: Lying) -> None:
    backend.of_places = lambda place: None if place.global_position == 3 else place
    assert await found_in(store) == [Found(ProblemKind.NOT_IN_STREAM, "order-1", 3, 3)]


async def test_an_event_that_stands_elsewhere_in_its_stream_is_reported(store: EventStore, backend: Lying) -> None:
    def moved(place: Place) -> Place:
        return msgspec.structs.replace(place, version=7) if place.global_position == 5 else place

    backend.of_places = moved
    found = await found_in(store)
    assert Found(ProblemKind.NOT_IN_STREAM, "order-1", 5, 5) in found
    assert Found(ProblemKind.NOT_IN_LOG, "order-1", 7, 5) in found


async def test_a_stream_that_is_not_listed_is_reported(store: EventStore, backend: Lying) -> None:
    backend.of_list = lambda info: None if info.stream_id == "order-1" else info
    assert await found_in(store) == [Found(ProblemKind.STREAM, "order-1")]


async def test_a_stream_that_is_listed_otherwise_than_it_is_is_reported(store: EventStore, backend: Lying) -> None:
    def otherwise(info: StreamInfo) -> StreamInfo:
        return msgspec.structs.replace(info, version=8) if info.stream_id == "order-1" else info

    backend.of_list = otherwise
    assert await found_in(store) == [Found(ProblemKind.STREAM, "order-1")]


async def test_a_stream_that_is_listed_and_unknown_is_reported(store: EventStore, backend: Lying) -> None:
    def renamed(info: StreamInfo) -> StreamInfo:
        return msgspec.structs.replace(info, stream_id="zero-1") if info.stream_id == "order-3" else info

    backend.of_list = renamed
    assert Found(ProblemKind.STREAM, "order-3") in await found_in(store)


async def test_positions_that_do_not_grow_are_reported(store: EventStore, backend: Lying) -> None:
    def again(event: Any) -> Any:
        return msgspec.structs.replace(event, global_position=6) if event.global_position == 7 else event

    backend.of_log = again
    assert Found(ProblemKind.POSITION, "order-2", 2, 6) in await found_in(store)


async def test_a_list_that_cannot_be_read_is_reported_once(store: EventStore, backend: Lying) -> None:
    def unreadable(place: Place) -> Place:
        raise ValueError("what is this?")

    backend.of_places = unreadable
    (problem,) = (await store.verify()).problems
    assert problem.kind is ProblemKind.UNREADABLE
    assert "what is this?" in problem.detail


async def test_what_cannot_be_read_makes_nothing_else_suspicious(
    store: EventStore, backend: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "MOST_SUSPECTS", 1)

    def unreadable(place: Place) -> Place:
        if place.stream_id == "order-1":
            raise ValueError("what is this?")
        return place

    backend.of_places = unreadable
    assert await found_in(store) == [Found(ProblemKind.UNREADABLE)]


@pytest.mark.parametrize("primitive", ["of_log", "of_places", "of_list"])
async def test_a_database_that_is_away_is_no_damage(store: EventStore, backend: Lying, primitive: str) -> None:
    def away(item: Any) -> Any:
        raise StoreUnavailable("it is away")

    setattr(backend, primitive, away)
    with pytest.raises(StoreUnavailable):
        await store.verify()


async def test_more_suspects_than_are_looked_at_again_are_counted(
    store: EventStore, backend: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "MOST_SUSPECTS", 2)
    backend.of_places = lambda place: None
    found = await found_in(store)
    assert found[-1].kind is ProblemKind.NOT_LOOKED_AT
    assert {problem.stream_id for problem in found[:-1]} == {"gone-1", "order-1"}


async def test_a_log_that_is_held_back_from_where_it_was_is_not_called_lost(
    store: EventStore, backend: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = iter([17])

    async def head() -> int:
        return next(heads, 10)

    async def read_all(start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await MemoryBackend.read_all(backend, start, min(limit, 10), direction, filter)
        return LogPage([], 10, at_end=True) if start == 10 else page

    monkeypatch.setattr(backend, "head", head)
    monkeypatch.setattr(backend, "read_all", read_all)
    assert await found_in(store) == [Found(ProblemKind.NOT_LOOKED_AT, global_position=10)]


async def test_what_moves_while_it_is_read_is_no_damage(store: EventStore, backend: Lying) -> None:
    moved: list[int] = []

    async def append_and_save(after: str | None, limit: int) -> list[Checkpoint]:
        if not moved:
            (event,) = await store.append("order-9", [NewEvent("Counted", {})], expected_version=ANY)
            moved.append(event.global_position)
            await store.save_checkpoint("quick", event.global_position, expected=0)
        return await MemoryBackend.list_checkpoints(backend, after, limit)

    backend.list_checkpoints = append_and_save  # type: ignore[method-assign]
    assert await found_in(store) == []
    assert moved

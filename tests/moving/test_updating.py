"""A store that was filled from an export is brought up to date from a later one, whatever was removed there since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from eventstore import ANY, NO_STREAM, EventStore, ImportConflict, NewEvent, RecordedEvent, open_store
from tests.moving.contents import contents_of, export_of, fill_with_everything, import_lines, picky_consumer

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def source() -> AsyncIterator[EventStore]:
    async with open_store("memory://") as store:
        yield store


Change = Callable[[EventStore], Awaitable[None]]


def events(count: int) -> list[NewEvent]:
    return [NewEvent("Counted", {"n": n}) for n in range(count)]


async def truncate(source: EventStore) -> None:
    await source.truncate_stream("order-1", 8)


async def empty(source: EventStore) -> None:
    await source.truncate_stream("order-1", 99)


async def append_and_truncate(source: EventStore) -> None:
    await source.append("order-1", events(5), expected_version=10)
    await source.truncate_stream("order-1", 14)


async def append_and_truncate_to_the_end(source: EventStore) -> None:
    await source.append("order-1", events(5), expected_version=10)
    await source.truncate_stream("order-1", 15)


async def append_and_empty(source: EventStore) -> None:
    await source.append("order-1", events(5), expected_version=10)
    await source.truncate_stream("order-1", 99)


async def delete(source: EventStore) -> None:
    await source.delete_stream("order-1", expected_version=ANY)


async def erase(source: EventStore) -> None:
    await source.delete_stream("order-1", expected_version=ANY, erase=True)


async def append_and_delete(source: EventStore) -> None:
    await source.append("order-1", events(5), expected_version=10)
    await source.delete_stream("order-1", expected_version=15)


async def append_truncate_and_delete(source: EventStore) -> None:
    await append_and_truncate(source)
    await source.delete_stream("order-1", expected_version=15)


async def append_and_erase(source: EventStore) -> None:
    await source.append("order-1", events(5), expected_version=10)
    await source.delete_stream("order-1", expected_version=15, erase=True)


CHANGES: list[Change] = [
    truncate,
    empty,
    append_and_truncate,
    append_and_truncate_to_the_end,
    append_and_empty,
    delete,
    erase,
    append_and_delete,
    append_truncate_and_delete,
    append_and_erase,
]
WITHOUT_EVIDENCE: list[Change] = [append_and_truncate, append_and_truncate_to_the_end, append_and_empty, empty, erase]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_what_was_removed_since_is_removed_here(store: EventStore, source: EventStore, change: Change) -> None:
    await source.append("order-1", events(10), expected_version=NO_STREAM)
    await source.append("order-2", events(3), expected_version=NO_STREAM)
    await source.save_snapshot("order-1", 9, {})
    await import_lines(store, await export_of(source))
    await change(source)
    await source.append("order-2", events(1), expected_version=3)
    lines = await export_of(source)
    for _ in range(2):
        await import_lines(store, lines, update=True)
        assert await contents_of(store) == await contents_of(source)
        assert (await store.verify()).is_sound


@pytest.mark.parametrize("change", WITHOUT_EVIDENCE, ids=lambda change: change.__name__)
async def test_without_that_nothing_is_removed_of_what_may_be_another_stream(
    store: EventStore, source: EventStore, change: Change
) -> None:
    await source.append("order-1", events(10), expected_version=NO_STREAM)
    await import_lines(store, await export_of(source))
    before = await contents_of(store)
    await change(source)
    with pytest.raises(ImportConflict, match="import with update=True"):
        await import_lines(store, await export_of(source))
    assert await contents_of(store) == before


async def test_a_stream_that_went_on_here_is_not_updated(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", events(3), expected_version=NO_STREAM)
    await import_lines(store, await export_of(source))
    await store.append("order-1", events(9), expected_version=3)
    await append_and_truncate_a_little(source)
    before = await contents_of(store)
    with pytest.raises(ImportConflict, match="is at version 12 here"):
        await import_lines(store, await export_of(source), update=True)
    assert await contents_of(store) == before


async def append_and_truncate_a_little(source: EventStore) -> None:
    await source.append("order-1", events(2), expected_version=3)
    await source.truncate_stream("order-1", 5)


async def test_checkpoints_and_consumers_take_the_place_of_those_that_are_here(
    store: EventStore, source: EventStore
) -> None:
    await fill_with_everything(source)
    await import_lines(store, await export_of(source))
    recorded = await source.append("order-1", events(4), expected_version=3)
    before = await source.load_checkpoint("reader")
    await source.save_checkpoint("reader", recorded[1].global_position, expected=before)

    async def accept(event: RecordedEvent) -> None:
        """Take what failed before."""

    mended = source.consumer("picky", accept, partitions=2)
    await mended.replay()
    await mended.run_until_caught_up()
    assert await mended.parked() == []
    lines = await export_of(source)
    kept = await import_lines(store, lines)
    assert (kept.checkpoints, kept.consumers, kept.kept) == (0, 0, 2)
    assert len(await picky_consumer(store).parked()) == 2
    updated = await import_lines(store, lines, update=True)
    assert (updated.checkpoints, updated.consumers, updated.kept) == (1, 1, 0)
    assert await contents_of(store) == await contents_of(source)
    assert (await store.verify()).is_sound

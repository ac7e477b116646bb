"""What is exported from one store is the same in another, on whatever engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest

from eventstore import ANY, NO_STREAM, EventStore, Filter, NewEvent, Progress, RecordedEvent, StreamDeleted, open_store
from eventstore.moving import placing
from eventstore.versions import MAX_VERSION
from eventstore_conformance.observing import collect, is_growing, let_others_run, positions
from eventstore_memory import MemoryBackend
from tests.moving.contents import contents_of, export_of, fill_with_everything, import_lines
from tests.moving.making import an_event, file_of

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def filled() -> AsyncIterator[EventStore]:
    async with open_store("memory://") as store:
        await fill_with_everything(store)
        yield store


async def test_a_store_with_everything_is_the_same_on_the_other_side(store: EventStore) -> None:
    async with filled() as source:
        expected = await contents_of(source)
        imported = await import_lines(store, await export_of(source))
        assert await contents_of(store) == expected
        assert (await store.verify()).is_sound
        assert (imported.events, imported.streams, imported.snapshots) == (len(expected.events), 5, 2)
        assert (imported.checkpoints, imported.consumers, imported.kept, imported.lost_parked) == (1, 1, 0, 0)


async def test_every_engine_exports_what_it_has(store: EventStore) -> None:
    await fill_with_everything(store)
    async with open_store("memory://") as target:
        await import_lines(target, await export_of(store))
        assert await contents_of(target) == await contents_of(store)
        assert (await target.verify()).is_sound


async def test_events_keep_their_versions_times_and_order_and_positions_grow(store: EventStore) -> None:
    clock = iter([datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2024, 2, 29, 0, 0, 0, 1, UTC)])
    async with EventStore(MemoryBackend(clock=lambda: next(clock))) as source:
        await source.append("order-1", [NewEvent("A", {})], expected_version=NO_STREAM)
        await source.append("order-2", [NewEvent("B", {}), NewEvent("C", {})], expected_version=NO_STREAM)
        await import_lines(store, await export_of(source))
        log, there = await collect(store.read_all()), await collect(source.read_all())
    assert [(event.stream_id, event.version, event.created_at) for event in log] == [
        (event.stream_id, event.version, event.created_at) for event in there
    ]
    assert is_growing(positions(log))


TIMES = [
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00.000001Z",
    "2024-02-29T23:30:00.123456+05:45",
    "9999-12-31T23:59:59.999999Z",
]
NUMBERS = [0, -1, 2**63 - 1, -(2**63), 1.0, 100.0, 0.1, 1e16, 1e22, 5e-324, 1.7976931348623157e308, -2.5e-7]


async def test_times_of_all_ages_are_kept(store: EventStore) -> None:
    events = [an_event("order-1", number, number, created_at=time) for number, time in enumerate(TIMES, 1)]
    await store.import_from(file_of(*events))
    found = [event.created_at async for event in store.read_stream("order-1")]
    assert found == [datetime.fromisoformat(time) for time in TIMES]
    assert (await store.verify()).is_sound


async def test_numbers_are_kept_digit_by_digit(store: EventStore) -> None:
    await store.import_from(file_of(an_event("order-1", 1, 1, data={"all": NUMBERS})))
    async with open_store("memory://") as target:
        await import_lines(target, await export_of(store))
        (event,) = await collect(target.read_all())
    assert repr(event.data["all"]) == repr(NUMBERS)


async def test_a_stream_may_begin_near_the_last_version_there_is(store: EventStore) -> None:
    version = MAX_VERSION - 1
    truncated = {"record": "stream", "version": version, "first_version": version, "deleted": False}
    emptied = {**truncated, "version": version - 1}
    events = [an_event("order-1", version, 1)]
    await store.import_from(
        file_of(*events, {**truncated, "stream_id": "order-1"}, {**emptied, "stream_id": "order-2"})
    )
    assert [event.version async for event in store.read_stream("order-1")] == [version]
    assert await store.stream_version("order-2") == version - 1
    await store.delete_stream("order-1", expected_version=version)
    assert (await store.verify()).is_sound


async def test_an_imported_stream_goes_on(store: EventStore) -> None:
    async with filled() as source:
        await import_lines(store, await export_of(source))
    await store.append("order-1", [NewEvent("Next", {})], expected_version=3)
    await store.append("short-1", [NewEvent("Next", {})], expected_version=3)
    await store.append("empty-1", [NewEvent("Next", {})], expected_version=3)
    found = await collect(store.read_all(filter=Filter(event_types=["Next"])))
    assert [(event.stream_id, event.version) for event in found] == [("order-1", 4), ("short-1", 4), ("empty-1", 4)]
    assert (await store.verify()).is_sound


async def test_an_import_run_again_changes_nothing(store: EventStore) -> None:
    async with filled() as source:
        lines = await export_of(source)
        await import_lines(store, lines)
        before, head = await contents_of(store), await store.head()
        again = await import_lines(store, lines)
    assert await contents_of(store) == before
    assert await store.head() == head
    assert (again.events, again.already_stored, again.kept) == (0, len(before.events), 0)


async def test_a_later_export_of_the_same_store_adds_what_is_new(store: EventStore) -> None:
    async with filled() as source:
        await import_lines(store, await export_of(source))
        await source.append("order-1", [NewEvent("Later", {})], expected_version=3)
        await source.append("order-3", [NewEvent("Later", {})], expected_version=NO_STREAM)
        await source.truncate_stream("order-2", 4)
        expected = await contents_of(source)
        imported = await import_lines(store, await export_of(source))
    assert imported.events == 2
    moved = await contents_of(store)
    assert (moved.events, moved.streams, moved.snapshots) == (expected.events, expected.streams, expected.snapshots)
    assert (await store.verify()).is_sound


class Interrupted(Exception):
    """The import was interrupted."""


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_an_interrupted_import_goes_on_when_it_is_run_again(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(placing, "MOST_EVENTS", 5)
    steps = 0

    def interrupt(progress: Progress) -> None:
        nonlocal steps
        steps += progress.step == "import"
        if steps == after:
            raise Interrupted

    async with filled() as source:
        lines, expected = await export_of(source), await contents_of(source)
        with pytest.raises(Interrupted):
            await import_lines(store, lines, progress=interrupt)
        stored = len(await collect(store.read_all()))
        assert stored == min(5 * after, len(expected.events))
        imported = await import_lines(store, lines)
    assert imported.already_stored == stored
    assert await contents_of(store) == expected


async def test_whoever_waits_for_events_is_given_the_imported_ones(store: EventStore) -> None:
    async with filled() as source:
        lines, count = await export_of(source), len(await collect(source.read_all()))
    seen: list[RecordedEvent] = []

    async def follow() -> None:
        async for event in store.subscribe():
            seen.append(event)
            if len(seen) == count:
                return

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        await import_lines(store, lines)
    assert positions(seen) == positions(await collect(store.read_all()))


async def test_what_is_exported_beside_writers_is_sound(url: str) -> None:
    """Appends, truncations and deletions go on all the time; each export has the beginning of the log, and no hole."""
    stop = asyncio.Event()
    async with open_store(url, page_size=7) as store, asyncio.TaskGroup() as tasks:

        async def write(number: int) -> None:
            rounds = 0
            while not stop.is_set():
                rounds += 1
                # Deleted ones stay so: others come in their place.
                stream_id = f"order-{number}-{rounds // 11}-{rounds % 5}"
                await let_others_run()
                with suppress(StreamDeleted):
                    await store.append(stream_id, [NewEvent("Counted", {}) for _ in range(3)], expected_version=ANY)
                    await store.save_snapshot(stream_id, await store.stream_version(stream_id), {})
                    await store.truncate_stream(stream_id, 1 + rounds // 3)
                    if rounds % 11 == 0:
                        await store.delete_stream(stream_id, expected_version=ANY, erase=rounds % 2 == 0)

        writers = [tasks.create_task(write(number)) for number in range(3)]
        try:
            await _export_some_times(store)
        finally:
            stop.set()
            await asyncio.gather(*writers)


async def _export_some_times(store: EventStore) -> None:
    """Import each export into a store of its own, and all of them one after another into one."""
    count = 0
    async with open_store("memory://") as updated:
        while count < 5:
            lines = await export_of(store)
            await import_lines(updated, lines, update=True)
            async with open_store("memory://") as target:
                await import_lines(target, lines)
                moved = await contents_of(target)
                assert (await target.verify()).is_sound
            assert (await contents_of(updated))[:2] == moved[:2]
            assert (await updated.verify()).is_sound
            count += bool(moved.events)

"""Who reads the log goes on in the other store where it was, whatever the positions are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    HandlerFailed,
    InvalidExport,
    NewEvent,
    OnError,
    RecordedEvent,
    Retry,
    WrongExpectedVersion,
    open_store,
)
from eventstore.backend import Entry
from eventstore.ledger import PARTITION
from eventstore_conformance.observing import collect, pass_time
from eventstore_memory import MemoryBackend
from tests.moving.contents import (
    export_of,
    fill_with_everything,
    handle_nothing,
    import_lines,
    picky_consumer,
    to_be_changed,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def source(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EventStore]:
    async with open_store(f"sqlite:///{tmp_path_factory.mktemp('source')}/events.db") as store:
        yield store


def numbers(first: int, last: int) -> list[NewEvent]:
    return [NewEvent("Counted", {"n": number}) for number in range(first, last + 1)]


async def test_a_consumer_goes_on_where_it_was(store: EventStore, source: EventStore) -> None:
    seen: list[int] = []

    async def note(event: RecordedEvent) -> None:
        seen.append(event.data["n"])

    # Positions that nothing stands at any more: those of the other store are others.
    await source.append("gone-1", numbers(-9, 0), expected_version=NO_STREAM)
    await source.truncate_stream("gone-1", 11)
    await source.append("order-1", numbers(1, 5), expected_version=NO_STREAM)
    await source.append("order-2", numbers(6, 9), expected_version=NO_STREAM)
    await source.consumer("counting", note, partitions=3).run_until_caught_up()
    assert sorted(seen) == list(range(1, 10))
    await source.append("order-1", numbers(10, 12), expected_version=5)
    await import_lines(store, await export_of(source))
    seen.clear()
    await store.consumer("counting", note, partitions=3).run_until_caught_up()
    assert seen == [10, 11, 12]


async def test_a_consumer_that_begins_late_begins_as_late(store: EventStore, source: EventStore) -> None:
    """Its settings tell where a partition begins that has not begun."""
    seen: list[int] = []

    async def note(event: RecordedEvent) -> None:
        seen.append(event.data["n"])

    await source.append("gone-1", numbers(-9, 0), expected_version=NO_STREAM)
    await source.truncate_stream("gone-1", 11)
    recorded = await source.append("order-1", numbers(1, 5), expected_version=NO_STREAM)
    consumer = source.consumer("late", note, after=recorded[2].global_position)
    await consumer.run_until_caught_up()
    await consumer.reset(recorded[3].global_position)
    await import_lines(store, await export_of(source))
    seen.clear()
    await store.consumer("late", note).run_until_caught_up()
    assert seen == [5]


async def test_a_store_in_use_moves_with_a_short_pause(store: EventStore, source: EventStore) -> None:
    """First while it is used; then what came since, and with it how far the consumers are."""
    seen: list[int] = []

    async def note(event: RecordedEvent) -> None:
        seen.append(event.data["n"])

    await source.append("order-1", numbers(1, 5), expected_version=NO_STREAM)
    await source.consumer("counting", note, partitions=2).run_until_caught_up()
    await import_lines(store, await export_of(source))
    await source.append("order-1", numbers(6, 8), expected_version=5)
    await source.append("order-2", numbers(9, 9), expected_version=NO_STREAM)
    await source.consumer("counting", note, partitions=2).run_until_caught_up()
    await source.append("order-2", numbers(10, 11), expected_version=1)
    imported = await import_lines(store, await export_of(source), update=True)
    assert (imported.events, imported.already_stored, imported.consumers) == (6, 5, 1)
    await store.consumer("counting", note, partitions=2).run_until_caught_up()
    assert sorted(seen) == list(range(1, 12))


async def test_parked_events_can_be_replayed(store: EventStore, source: EventStore) -> None:
    await fill_with_everything(source)
    await import_lines(store, await export_of(source))
    consumer = picky_consumer(store)
    parked = await consumer.parked()
    assert [(kept.event and kept.event.stream_id, kept.event and kept.event.version) for kept in parked] == [
        ("order-1", 1),
        ("order-1", 3),
    ]
    seen: list[int] = []

    async def accept(event: RecordedEvent) -> None:
        seen.append(event.version)

    mended = store.consumer("picky", accept, partitions=2)
    await mended.replay()
    await mended.run_until_caught_up()
    assert seen == [1, 3]
    assert await mended.parked() == []


async def test_a_parked_event_that_is_in_the_log_no_more_is_left_out(store: EventStore, source: EventStore) -> None:
    await fill_with_everything(source)
    await source.truncate_stream("order-1", 2)
    imported = await import_lines(store, await export_of(source))
    assert imported.lost_parked == 1
    assert [kept.event and kept.event.version for kept in await picky_consumer(store).parked()] == [3]
    assert (await store.verify()).is_sound


async def test_a_reader_that_bookmarks_misses_nothing_and_reads_nothing_twice(
    store: EventStore, source: EventStore
) -> None:
    """Positions that were drawn and given up stand between the events."""
    for number in range(10):
        await source.append(f"order-{number % 2}", numbers(number, number), expected_version=ANY)
        with pytest.raises(WrongExpectedVersion):
            await source.append("order-0", numbers(0, 0), expected_version=99)
    log = await collect(source.read_all())
    for index, event in enumerate(log):
        await source.save_checkpoint(f"reader-{index}", event.global_position, expected=0)
    await import_lines(store, await export_of(source))
    for index in range(len(log)):
        after = await store.load_checkpoint(f"reader-{index}")
        rest = [event.data["n"] async for event in store.read_all(after=after)]
        assert rest == list(range(index + 1, 10))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_is_parked_while_the_export_reads_is_not_lost(store: EventStore, moment: str) -> None:
    """A worker goes on before, or after, the partitions are read: it is never told to be ahead of what it parked."""

    class Read(MemoryBackend):
        async def list_entries(
            self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
        ) -> list[Entry]:
            page = await super().list_entries(name, prefix, after, limit)
            if prefix == PARTITION and exporting.is_set():
                exporting.clear()
                await picky.run_until_caught_up()
                if moment == "before":
                    return await super().list_entries(name, prefix, after, limit)
            return page

    exporting = asyncio.Event()

    async with EventStore(Read()) as source:
        await source.append("order-1", numbers(1, 1), expected_version=NO_STREAM)
        await source.append("order-1", numbers(2, 2), expected_version=1)
        picky = picky_consumer(source)
        await picky.run_until_caught_up()
        await source.append("order-1", numbers(3, 3), expected_version=2)
        exporting.set()
        await import_lines(store, await export_of(source))
    moved = picky_consumer(store)
    parked = [1, 3] if moment == "before" else [1]
    assert [kept.event and kept.event.version for kept in await moved.parked()] == parked
    await moved.run_until_caught_up()
    assert [kept.event and kept.event.version for kept in await moved.parked()] == [1, 3]


async def test_what_a_reset_takes_back_while_the_export_reads_is_not_lost(store: EventStore) -> None:
    """The consumer is reset when its partitions were read, and what it has parked was not yet."""

    class Read(MemoryBackend):
        async def list_entries(
            self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
        ) -> list[Entry]:
            page = await super().list_entries(name, prefix, after, limit)
            if prefix == PARTITION and exporting.is_set():
                exporting.clear()
                await picky.reset(0)
            return page

    exporting = asyncio.Event()
    async with EventStore(Read()) as source:
        await source.append("order-1", numbers(1, 4), expected_version=NO_STREAM)
        picky = picky_consumer(source)
        await picky.run_until_caught_up()
        exporting.set()
        await import_lines(store, await export_of(source))
    moved = picky_consumer(store)
    await moved.run_until_caught_up()
    assert [kept.event and kept.event.version for kept in await moved.parked()] == [1, 3]


async def test_a_partition_that_an_update_forgets_is_given_up(source: EventStore) -> None:
    """A worker has it, and looks for it later: it does not stumble."""
    worker = source.consumer("worker", handle_nothing, lease=0.1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(worker.run())
        await until_found(source, "worker", present=True)
        (entry,) = await source._backend.list_entries("worker", PARTITION, None, 9)
        while await source._backend.save_entry("worker", entry.key, None, entry.version) != entry.version:
            (entry,) = await source._backend.list_entries("worker", PARTITION, None, 9)
        await until_found(source, "worker", present=True)
        await worker.stop()
        await running


async def until_found(store: EventStore, name: str, *, present: bool) -> None:
    while bool(await store._backend.list_entries(name, PARTITION, None, 9)) != present:
        await pass_time(0.01)


async def test_an_event_is_not_parked_for_the_tries_of_another(store: EventStore, source: EventStore) -> None:
    """The consumer struggles with an event that was appended after the log was read."""

    async def refuse(event: RecordedEvent) -> None:
        if event.data["n"] == 2:
            raise ValueError(event)

    struggling = source.consumer("struggling", refuse, retry=Retry(attempts=2, first_wait=0.001))
    await source.append("order-1", numbers(1, 1), expected_version=NO_STREAM)
    lines: list[bytes] = []
    async for line in source.export():
        if not lines:
            await source.append("order-1", numbers(2, 2), expected_version=1)
            with pytest.raises(HandlerFailed):
                await struggling.run_until_caught_up()
        lines.append(line)
    await import_lines(store, lines)
    await store.append("order-9", numbers(9, 9), expected_version=NO_STREAM)
    seen: list[int] = []

    async def note(event: RecordedEvent) -> None:
        seen.append(event.data["n"])

    await store.consumer("struggling", note, on_error=OnError.PARK).run_until_caught_up()
    assert seen == [9]


async def test_what_an_interrupted_import_left_of_a_consumer_is_forgotten(
    store: EventStore, source: EventStore
) -> None:
    """An event that was parked then, and was handled at the source since."""
    await fill_with_everything(source)
    lines = await export_of(source)
    settings = next(index for index, line in enumerate(lines) if b'"key":"settings"' in line)
    # As far as before the settings, which make a consumer of it.
    unsettled = [line for index, line in enumerate(to_be_changed(lines)) if index != settings]
    with pytest.raises(InvalidExport):
        await import_lines(store, unsettled)
    await import_lines(store, lines, consumers=False)
    for line in lines:
        if b'"key":"parked' in line or b'"key":"partition' in line:
            entry = msgspec.json.decode(line)
            await store._backend.save_entry(entry["name"], entry["key"], msgspec.json.encode(entry["data"]), 0)
    assert len(await export_of(store)) == len(lines) - 6

    async def accept(event: RecordedEvent) -> None:
        """Take what failed before."""

    mended = source.consumer("picky", accept, partitions=2)
    await mended.replay()
    await mended.run_until_caught_up()
    await import_lines(store, await export_of(source))
    assert await picky_consumer(store).parked() == []
    assert (await store.verify()).is_sound


async def test_a_worker_stays_where_it_is(store: EventStore, source: EventStore) -> None:
    """A partition in somebody's hands is in nobody's in the other store, so that nobody waits for a lease."""
    ended: list[str | None] = []

    async def look(event: RecordedEvent) -> None:
        await import_lines(store, await export_of(source))
        ended.extend([part.worker async for status in store.consumers() for part in status.partitions])

    await source.append("order-1", numbers(1, 1), expected_version=NO_STREAM)
    await source.consumer("busy", look).run_until_caught_up()
    assert ended == [None]

"""An import never changes what a store has, and says what stands against it."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    NO_STREAM,
    Capability,
    CapabilityNotSupported,
    EventStore,
    ImportConflict,
    InvalidArgument,
    NewEvent,
    StoreNotOpen,
    open_store,
)
from eventstore.backend import Conflict, RestoredEvent
from eventstore.ledger import PARTITION
from eventstore.moving import placing
from eventstore_conformance.observing import collect
from eventstore_memory import MemoryBackend
from tests.moving.contents import (
    as_file,
    contents_of,
    export_of,
    fill_with_everything,
    handle_nothing,
    import_lines,
    to_be_changed,
)
from tests.moving.making import an_event, file_of

pytestmark = pytest.mark.asyncio


def event() -> NewEvent:
    return NewEvent("Happened", {})


@pytest_asyncio.fixture
async def source() -> AsyncIterator[EventStore]:
    async with open_store("memory://") as store:
        yield store


async def refused(store: EventStore, source: EventStore, **options: bool) -> ImportConflict:
    """Import one store into the other, which must be refused and change nothing."""
    before, head = await contents_of(store), await store.head()
    with pytest.raises(ImportConflict) as refusal:
        await import_lines(store, await export_of(source), **options)
    assert (await contents_of(store), await store.head()) == (before, head)
    assert (await store.verify()).is_sound
    return refusal.value


async def test_a_stream_with_events_of_its_own_is_not_continued(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await source.append("order-2", [event()], expected_version=NO_STREAM)
    await store.append("order-2", [NewEvent("Other", {})], expected_version=NO_STREAM)
    error = await refused(store, source)
    assert (error.line, error.stream_id) == (3, "order-2")
    assert "is at version 1 here, and the export goes on with version 1" in error.reason


async def test_a_stream_that_is_deleted_here_stays_deleted(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await store.delete_stream("order-1", expected_version=ANY)
    error = await refused(store, source)
    assert (error.line, error.stream_id) == (2, "order-1")
    assert "is deleted in this store" in error.reason


async def test_a_truncated_stream_that_is_deleted_here_stays_deleted(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", [event(), event()], expected_version=NO_STREAM)
    await source.truncate_stream("order-1", 2)
    await store.delete_stream("order-1", expected_version=ANY)
    assert "is deleted in this store" in (await refused(store, source)).reason


@pytest.mark.parametrize("change", ["data", "metadata", "event_type", "created_at", "stream_id"])
async def test_an_event_that_is_stored_and_not_the_same_is_refused(
    store: EventStore, source: EventStore, change: str
) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    header, line, end = to_be_changed(await export_of(source))
    await import_lines(store, [header, line, end])
    before = await contents_of(store)
    fields = msgspec.json.decode(line)
    other = {"data": {"a": 1}, "metadata": {"a": 1}, "created_at": "2001-01-01T00:00:00Z"}.get(change, "other")
    with pytest.raises(ImportConflict) as refusal:
        await import_lines(store, [header, msgspec.json.encode({**fields, change: other}) + b"\n", end])
    assert "is in this store already" in refusal.value.reason
    assert await contents_of(store) == before


async def test_time_does_not_go_back_in_a_stream(store: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=NO_STREAM)
    stream = {"record": "stream", "stream_id": "order-1", "version": 2, "first_version": 2, "deleted": False}
    file = file_of(an_event("order-1", 2, 7, created_at="1999-01-01T00:00:00Z"), stream)
    with pytest.raises(ImportConflict, match="of a later time than version 2"):
        await store.import_from(file, update=True)


async def test_an_emptied_stream_does_not_empty_one_that_may_be_another(store: EventStore, source: EventStore) -> None:
    for one in (store, source):
        await one.append("order-1", [event()], expected_version=NO_STREAM)
    await source.delete_stream("order-1", expected_version=ANY, erase=True)
    assert "up to version 1, and the export has none of them" in (await refused(store, source)).reason


async def test_a_truncated_stream_does_not_go_on_from_one_that_may_be_another(
    store: EventStore, source: EventStore
) -> None:
    """Its versions would fit."""
    await store.append("order-1", [event(), event()], expected_version=NO_STREAM)
    await source.append("order-1", [event() for _ in range(3)], expected_version=NO_STREAM)
    await source.truncate_stream("order-1", 3)
    assert "up to version 2, and the export has none of them" in (await refused(store, source)).reason


@pytest.mark.parametrize("versions", [0, 1, 2])
async def test_an_erased_stream_does_not_erase_what_is_left_of_a_deleted_one(
    store: EventStore, source: EventStore, versions: int
) -> None:
    await store.append("order-1", [event(), event()], expected_version=NO_STREAM)
    await store.delete_stream("order-1", expected_version=2)
    if versions:
        await source.append("order-1", [event() for _ in range(versions)], expected_version=NO_STREAM)
    await source.delete_stream("order-1", expected_version=ANY, erase=True)
    await refused(store, source)


@pytest.mark.parametrize("erased", [False, True])
async def test_a_stream_of_which_only_a_snapshot_is_left_is_not_taken_for_another(
    store: EventStore, source: EventStore, erased: bool
) -> None:
    """The snapshot is all that there is of its state."""
    await store.append("order-1", [event(), event()], expected_version=NO_STREAM)
    await store.save_snapshot("order-1", 2, {"balance": 1000})
    await store.truncate_stream("order-1", 3)
    await source.append("order-1", [event() for _ in range(4)], expected_version=NO_STREAM)
    await source.truncate_stream("order-1", 4)
    if erased:
        await source.delete_stream("order-1", expected_version=4, erase=True)
    assert "has events or a snapshot here" in (await refused(store, source)).reason


async def test_what_is_refused_at_the_beginning_leaves_no_truncated_streams(
    store: EventStore, source: EventStore
) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await source.append("order-2", [event(), event()], expected_version=NO_STREAM)
    await source.append("order-3", [event(), event()], expected_version=NO_STREAM)
    await source.truncate_stream("order-2", 2)
    await source.truncate_stream("order-3", 3)
    await store.append("order-3", [event()], expected_version=NO_STREAM)
    await refused(store, source)


async def test_a_snapshot_that_is_here_is_not_replaced(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    lines = await export_of(source)
    await import_lines(store, lines)
    await store.save_snapshot("order-1", 1, {"of": "mine"})
    await source.save_snapshot("order-1", 1, {"of": "theirs"})
    imported = await import_lines(store, await export_of(source))
    kept = await store.load_snapshot("order-1")
    assert (imported.snapshots, kept and kept.data) == (0, {"of": "mine"})


async def test_a_stream_that_lacks_what_was_truncated_is_refused(store: EventStore, source: EventStore) -> None:
    await store.append("order-1", [event()], expected_version=NO_STREAM)
    await source.append("order-1", [event() for _ in range(4)], expected_version=NO_STREAM)
    await source.truncate_stream("order-1", 3)
    assert "up to version 1, and the export has none of them" in (await refused(store, source)).reason


async def test_a_deleted_stream_does_not_delete_one_that_went_on(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await import_lines(store, await export_of(source))
    await store.append("order-1", [event()], expected_version=1)
    await source.delete_stream("order-1", expected_version=ANY)
    assert "is at version 2 here and at 1 in the export" in (await refused(store, source)).reason


async def test_a_store_with_other_events_takes_all_but_checkpoints_and_consumers(
    store: EventStore, source: EventStore
) -> None:
    await fill_with_everything(source)
    await store.append("mine-1", [event()], expected_version=NO_STREAM)
    assert "or without them" in (await refused(store, source)).reason
    imported = await import_lines(store, await export_of(source), consumers=False)
    there, here = await contents_of(source), await contents_of(store)
    assert here.events[1:] == there.events
    assert here.snapshots == there.snapshots
    assert (imported.checkpoints, imported.consumers, imported.kept) == (0, 0, 0)
    assert (here.read_by, here.consumers) == ({}, {})
    assert (await store.verify()).is_sound


async def test_other_events_among_those_imported_keep_checkpoints_out(store: EventStore, source: EventStore) -> None:
    """They came after the import had looked at the beginning of the log."""
    await fill_with_everything(source)
    lines = await export_of(source)
    await import_lines(store, lines, consumers=False)
    await store.append("mine-1", [event()], expected_version=NO_STREAM)
    await source.append("order-1", [NewEvent("Later", {})], expected_version=3)
    with pytest.raises(ImportConflict, match="other events before or among"):
        await import_lines(store, await export_of(source))
    assert await store.load_checkpoint("reader") == 0
    assert [status async for status in store.consumers()] == []


async def test_a_store_keeps_the_checkpoints_that_it_has(store: EventStore, source: EventStore) -> None:
    recorded = await source.append("order-1", [event()], expected_version=NO_STREAM)
    await source.save_checkpoint("reader", recorded[0].global_position, expected=0)
    await store.save_checkpoint("reader", 77, expected=0)
    imported = await import_lines(store, await export_of(source))
    assert (imported.checkpoints, imported.kept) == (0, 1)
    assert await store.load_checkpoint("reader") == 77


class Racing(MemoryBackend):
    """A store that others use as soon as events were imported, before the rest is."""

    def __init__(self, act: Callable[[Racing], Awaitable[object]]) -> None:
        super().__init__()
        self._act = act

    async def restore(self, events: Sequence[RestoredEvent]) -> tuple[int, ...] | Conflict:
        outcome = await super().restore(events)
        await self._act(self)
        return outcome


async def test_a_stream_that_others_delete_meanwhile_gets_no_snapshot(source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await source.save_snapshot("order-1", 1, {})
    async with EventStore(Racing(lambda backend: backend.delete_stream("order-1", 1, erase=False))) as store:
        with pytest.raises(ImportConflict, match="others change stream 'order-1' meanwhile"):
            await import_lines(store, await export_of(source))


@pytest.mark.parametrize("first_version", [2, 3])
async def test_events_that_others_append_meanwhile_are_not_truncated(
    source: EventStore, first_version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream was not there when the import began."""
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await source.append("order-2", [event(), event()], expected_version=NO_STREAM)
    await source.truncate_stream("order-2", first_version)
    monkeypatch.setattr(placing, "MOST_EVENTS", 1)
    theirs = [event(), event()]
    async with EventStore(Racing(lambda _: store.append("order-2", theirs, expected_version=0))) as store:
        await store.append("mine-1", [event()], expected_version=NO_STREAM)
        with pytest.raises(ImportConflict):
            await import_lines(store, await export_of(source))
        assert [found.event_id async for found in store.read_stream("order-2")] == [it.event_id for it in theirs]


async def test_a_stream_that_others_continue_meanwhile_is_not_deleted(source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await source.delete_stream("order-1", expected_version=1)
    racing = Racing(lambda _: store.append("order-1", [event()], expected_version=1))
    async with EventStore(racing) as store:
        with pytest.raises(ImportConflict, match="at version 2 here"):
            await import_lines(store, await export_of(source))


async def test_a_stream_that_is_deleted_after_its_import_is_not_passed(store: EventStore, source: EventStore) -> None:
    await source.append("order-1", [event()], expected_version=NO_STREAM)
    await import_lines(store, await export_of(source))
    await store.delete_stream("order-1", expected_version=1)
    assert "is deleted in this store" in (await refused(store, source)).reason


async def test_a_refusal_tells_how_much_is_stored(store: EventStore, source: EventStore) -> None:
    for stream_id in ("order-1", "order-2"):
        await source.append(stream_id, [event()], expected_version=NO_STREAM)
    await import_lines(store, await export_of(source))
    await source.append("order-1", [event()], expected_version=1)
    await source.save_checkpoint("reader", 1, expected=0)
    await store.append("mine-1", [event()], expected_version=NO_STREAM)
    with pytest.raises(ImportConflict) as refusal:
        await import_lines(store, await export_of(source))
    assert refusal.value.__notes__ == ["3 events of the export are in the store by now, and stay"]


async def test_a_consumer_that_begins_meanwhile_is_not_replaced(source: EventStore) -> None:
    await fill_with_everything(source)

    class Beginning(MemoryBackend):
        async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
            if key.startswith(PARTITION) and not begun:
                begun.append(name)
                await store.consumer("picky", handle_nothing, partitions=4).run_until_caught_up()
            return await super().save_entry(name, key, data, expected)

    begun: list[str] = []
    async with EventStore(Beginning()) as store:
        with pytest.raises(ImportConflict, match="consumer 'picky' is at work here"):
            await import_lines(store, await export_of(source))
        (status,) = [status async for status in store.consumers()]
        assert len(status.partitions) == 4


async def test_events_in_another_order_are_refused(store: EventStore, source: EventStore) -> None:
    for stream_id in ("order-1", "order-2"):
        await source.append(stream_id, [event()], expected_version=NO_STREAM)
    header, first, second, end = to_be_changed(await export_of(source))
    await import_lines(store, [header, first, second, end])
    swapped = [first.replace(b'"global_position":1', b'"global_position":2')]
    swapped.insert(0, second.replace(b'"global_position":2', b'"global_position":1'))
    with pytest.raises(ImportConflict, match="in another order"):
        await import_lines(store, [header, *swapped, end])


async def test_what_is_no_file_to_be_read_twice_is_refused(source: EventStore) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        for no_file in (pipe, io.StringIO("text"), "store.jsonl", b"{}", None):
            with pytest.raises(InvalidArgument, match="open in binary mode and can seek"):
                await source.import_from(no_file)  # type: ignore[arg-type]


async def test_a_backend_that_cannot_restore_says_so() -> None:
    class Plain(MemoryBackend):
        capabilities = MemoryBackend.capabilities - {Capability.RESTORE}

    async with EventStore(Plain()) as store:
        lines = await export_of(store)
        with pytest.raises(CapabilityNotSupported, match="RESTORE"):
            await import_lines(store, lines)


async def test_a_closed_store_says_so(source: EventStore) -> None:
    lines = await export_of(source)
    await source.close()
    with pytest.raises(StoreNotOpen):
        await import_lines(source, lines)
    with pytest.raises(StoreNotOpen):
        await collect(source.export())


async def test_a_store_without_a_beginning_is_exported_as_such(source: EventStore) -> None:
    assert len(await export_of(source)) == 2
    assert (await source.import_from(as_file(await export_of(source)))).events == 0

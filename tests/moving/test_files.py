"""A file that is not sound is refused with the number of the line and the reason, before anything is written."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from eventstore import NO_STREAM, EventStore, InvalidExport, NewEvent, StorageError, StoreUnavailable, open_store
from eventstore.backend import Direction, EncodedSnapshot, LogPage
from eventstore.filters import Filter
from eventstore_conformance.making import nested, object_of_size
from eventstore_conformance.observing import nothing_written
from eventstore_memory import MemoryBackend
from tests.moving.contents import as_file, contents_of, export_of, fill_with_everything, import_lines, to_be_changed

pytestmark = pytest.mark.asyncio

Line = dict[str, Any]
Change = Callable[[list[Line]], object]
BIG = 10**30


@pytest_asyncio.fixture
async def store() -> AsyncIterator[EventStore]:
    async with open_store("memory://") as store:
        yield store


@pytest_asyncio.fixture
async def lines() -> list[Line]:
    """The lines of a sound export."""
    async with open_store("memory://") as source:
        await fill_with_everything(source)
        return [json.loads(line) for line in to_be_changed(await export_of(source))]


def as_text(lines: list[Line]) -> list[bytes]:
    return [json.dumps(line).encode() + b"\n" for line in lines]


async def refused(store: EventStore, text: list[bytes]) -> InvalidExport:
    async with nothing_written(store):
        with pytest.raises(InvalidExport) as refusal:
            await import_lines(store, text)
    assert (await contents_of(store)).streams == []
    assert f"line {refusal.value.line} of the export is wrong: " in str(refusal.value)
    return refusal.value


def first(lines: list[Line], record: str, **fields: Any) -> int:
    """Return the index of the first line of a kind that has the fields."""
    return next(
        index for index, line in enumerate(lines) if line["record"] == record and fields.items() <= line.items()
    )


def set_in(record: str, field: str, value: object, **fields: Any) -> Change:
    """Change a field of the first line of a kind."""
    return lambda lines: lines[first(lines, record, **fields)].__setitem__(field, value)


def removed(record: str, **fields: Any) -> Change:
    """Take the first line of a kind away, and count it no more."""

    def remove(lines: list[Line]) -> None:
        del lines[first(lines, record, **fields)]
        lines[-1][f"{record}s"] -= 1

    return remove


def doubled(record: str) -> Change:
    """Have the first line of a kind twice, and count it twice."""

    def double(lines: list[Line]) -> None:
        index = first(lines, record)
        lines.insert(index, lines[index])
        if f"{record}s" in lines[-1]:
            lines[-1][f"{record}s"] += 1

    return double


def moved_to_the_front(record: str) -> Change:
    """Put a line of a kind behind the header."""
    return lambda lines: lines.insert(1, lines.pop(first(lines, record)))


CHANGES: dict[str, tuple[Change, str]] = {
    "no header": (lambda lines: lines.pop(0), "the first line of an export is its header"),
    "two headers": (doubled("eventstore export"), "eventstore export cannot stand after eventstore export"),
    "a later format": (set_in("eventstore export", "format", 2), "upgrade eventstore-kit"),
    "no format": (set_in("eventstore export", "format", 0), "$.format"),
    "an unknown kind": (set_in("event", "record", "evnt"), "Invalid value 'evnt' - at `$.record`"),
    "no kind": (lambda lines: lines[3].pop("record"), "missing required field `record`"),
    "an unknown field": (set_in("event", "versoin", 1), "unknown field `versoin`"),
    "a field that is missing": (lambda lines: lines[3].pop("metadata"), "missing required field `metadata`"),
    "no end": (lambda lines: lines.pop(), "was cut short"),
    "something after the end": (lambda lines: lines.append(lines[-1]), "end cannot stand after end"),
    "a stream among the events": (moved_to_the_front("stream"), "event cannot stand after stream"),
    "a snapshot among the events": (moved_to_the_front("snapshot"), "does not come to version 2"),
    "an event that was lost": (removed("event", stream_id="order-1", version=2), "has no version 2, and was not trunc"),
    "an event that was lost and counted": (lambda lines: lines.pop(-12), "lines were lost or added"),
    "an event twice": (doubled("event"), "must be above the one before"),
    "an id twice": (
        lambda lines: lines[2].__setitem__("event_id", lines[1]["event_id"]),
        "stands in an earlier line, too",
    ),
    "a position beyond the head": (set_in("eventstore export", "head", 3), "at most the head in the header, 3"),
    "a version twice": (set_in("event", "version", 1, stream_id="order-2", version=2), "comes after version 1"),
    "version 0": (set_in("event", "version", 0), "`$.version`"),
    "a version of more than 64 bits": (set_in("event", "version", BIG), "`$.version`"),
    "a negative position": (set_in("event", "global_position", -1), "`$.global_position`"),
    "time that goes back": (set_in("event", "created_at", "1999-01-01T00:00:00Z", version=3), "is before that of"),
    "time without a zone": (set_in("event", "created_at", "2024-01-01T00:00:00"), "`$.created_at`"),
    "time beyond all": (set_in("event", "created_at", "0001-01-01T00:00:00+10:00"), "out of range"),
    "no time": (set_in("event", "created_at", "yesterday"), "`$.created_at`"),
    "an id that is none": (set_in("event", "event_id", "1"), "`$.event_id`"),
    "an empty stream id": (set_in("event", "stream_id", ""), "$.stream_id: it must not be empty"),
    "a control character": (set_in("event", "event_type", "a\x07b"), "$.event_type: it must not contain control"),
    "a long name": (set_in("event", "event_type", "a" * 256), "$.event_type: it has 256 characters"),
    "data that is no object": (set_in("event", "data", [1]), "`$.data`"),
    "an integer beyond 64 bits": (set_in("event", "data", {"a": [BIG]}), "$.data.a[0]"),
    "a NUL": (set_in("event", "metadata", {"a": "\0"}), "$.metadata.a"),
    "nesting": (set_in("event", "data", {"a": nested(200)}), "nested deeper"),
    "a deep hole": (set_in("event", "data", {"a": nested(900)}), "nested deeper"),
    "a payload that is too large": (set_in("event", "data", object_of_size(2**20 + 1)), "the limit is 1,048,576"),
    "a stream of another version": (set_in("stream", "version", 9, stream_id="short-1"), "does not agree with"),
    "a stream without a reason": (set_in("stream", "deleted", False, stream_id="gone-1"), "neither truncated nor"),
    "a stream twice": (doubled("stream"), "stands in an earlier line, too"),
    "a snapshot ahead": (set_in("snapshot", "version", 9), "does not come to version 9"),
    "a snapshot of nothing": (set_in("snapshot", "stream_id", "no-1"), "does not come to version"),
    "a snapshot of what is deleted": (set_in("snapshot", "stream_id", "gone-1"), "is deleted and has no snapshot"),
    "a snapshot twice": (doubled("snapshot"), "stands in an earlier line, too"),
    "a snapshot that is none": (set_in("snapshot", "data", {"a": "\0"}), "$.data.a"),
    "a checkpoint twice": (doubled("checkpoint"), "stands in an earlier line, too"),
    "a checkpoint below 0": (set_in("checkpoint", "position", -1), "`$.position`"),
    "a consumer's unknown key": (set_in("consumer", "key", "worker/1"), "the key 'worker/1' is unknown"),
    "a consumer's key of something else": (set_in("consumer", "key", "partition/0000"), "consumer 'picky'"),
    "a consumer that keeps nothing": (set_in("consumer", "data", {}, key="partition/0001"), "`position`"),
    "a partition too many": (set_in("consumer", "key", "partition/0002", key="partition/0001"), "know of no partition"),
    "a consumer without settings": (
        removed("consumer", key="settings"),
        "know of no partition",
    ),
    "no partitions": (set_in("consumer", "data", {"partitions": 0, "after": 0}, key="settings"), "0 partitions"),
    "a consumer beyond 64 bits": (
        set_in("consumer", "data", {"partitions": 2, "after": BIG}, key="settings"),
        "of consumer 'picky'",
    ),
    "a parked event in no state": (
        lambda lines: lines[first(lines, "consumer")]["data"].__setitem__("state", "lost"),
        "a parked event is not 'lost'",
    ),
    "a parked event of no stream": (
        lambda lines: lines[first(lines, "consumer")]["data"].__setitem__("stream_id", ""),
        "$.stream_id: it must not be empty",
    ),
    "a partition below 0": (
        lambda lines: lines[first(lines, "consumer", key="partition/0001")]["data"].__setitem__("position", -1),
        "position -1 is out of range",
    ),
    "a consumer twice": (doubled("consumer"), "stands in an earlier line, too"),
    "other numbers at the end": (set_in("end", "snapshots", 7), "lines were lost or added"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_file_is_refused(store: EventStore, lines: list[Line], change: str) -> None:
    make, reason = CHANGES[change]
    make(lines)
    error = await refused(store, as_text(lines))
    assert reason in error.reason
    assert 1 <= error.line <= len(lines) + 1


async def test_the_file_that_was_changed_was_sound(store: EventStore, lines: list[Line]) -> None:
    assert (await import_lines(store, as_text(lines))).events == lines[-1]["events"]


@pytest.mark.parametrize("cut", range(1, 25))
async def test_a_file_that_was_cut_short_is_refused(store: EventStore, lines: list[Line], cut: int) -> None:
    text = b"".join(as_text(lines))
    await refused(store, [text[: -cut * len(text) // 25]])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"", 1, "the file is empty"),
        (b"\n", 1, "no whole JSON object"),
        (b'{"record": "end", "events', 1, "no whole JSON object"),
        (b"hello\n", 1, "this is no export: JSON is malformed"),
        (b"\x1f\x8b\x08\x00 gzip", 1, "compressed: pass it through gunzip"),
        (b"\xff\xfe{\x00}\x00", 1, "UTF-16"),
        (b"[1]\n", 1, "Expected `object`"),
        (b'{"a": ' + b"[" * 100_000, 1, "recursion"),
        (b'{"record": "event", "data": {"a": "\\ud800"}}', 1, "no whole JSON object"),
        (b"x" * 20_000_000, 1, "longer than"),
    ],
    ids=["empty", "a blank", "cut", "text", "gzip", "UTF-16", "no object", "brackets", "a surrogate", "one long line"],
)
async def test_what_is_no_export_is_refused(store: EventStore, text: bytes, line: int, reason: str) -> None:
    error = await refused(store, [text])
    assert error.line == line
    assert reason in error.reason


async def test_a_file_of_which_a_byte_was_changed_is_refused(store: EventStore) -> None:
    """It is sound otherwise: only what the last line tells of the bytes does not fit."""
    async with open_store("memory://") as source:
        await fill_with_everything(source)
        text = b"".join(await export_of(source))
    error = await refused(store, [text.replace(b"Counted", b"Counted!", 1)])
    assert "its sha256 is not that of the lines above" in error.reason


@pytest.mark.parametrize("change", ["cut", "without a line", "another line"])
async def test_a_file_that_is_changed_between_its_two_readings_is_noticed(
    store: EventStore, lines: list[Line], change: str
) -> None:
    before = as_text(lines)
    after = {
        "cut": before[:5],
        "without a line": [line for line in before if line != before[first(lines, "event", version=2)]],
        "another line": [line.replace(b"Closed2", b"Opened2") for line in before],
    }[change]

    class Changing(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            self.readings = getattr(self, "readings", 0) + 1
            if self.readings == 2:
                super().seek(0)
                self.write(b"".join(after))
                self.truncate()
            return super().seek(offset, whence)

    with pytest.raises(InvalidExport, match="was changed while it was imported"):
        await store.import_from(Changing(b"".join(before)))
    assert (await store.verify()).is_sound


async def test_larger_payloads_are_taken_by_a_store_that_allows_them() -> None:
    async with open_store("memory://", max_event_size=2**22) as source:
        await source.append("order-1", [NewEvent("Large", object_of_size(2**21))], expected_version=NO_STREAM)
        lines = await export_of(source)
    async with open_store("memory://") as store:
        assert "the limit is" in (await refused(store, lines)).reason
    async with open_store("memory://", max_event_size=2**22) as store:
        assert (await import_lines(store, lines)).events == 1


async def test_the_file_may_stand_anywhere_when_it_is_given(store: EventStore, lines: list[Line]) -> None:
    file = as_file(as_text(lines))
    file.seek(0, 2)
    assert (await store.import_from(file)).events == lines[-1]["events"]


async def test_a_log_whose_end_is_hidden_is_not_exported_as_if_it_were_whole() -> None:
    """Appends in flight hide it for longer than the export waits."""

    class Hidden(MemoryBackend):
        async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
            page = await super().read_all(start, limit, direction, filter)
            page.events[:] = [event for event in page.events if event.version == 1]
            return replace(page, looked_to=1)

        async def wait(self, after: int, timeout: float) -> None:
            """Return for nothing, as a backend may."""

    async with EventStore(Hidden()) as store:
        await store.append("order-1", [NewEvent("Happened", {}) for _ in range(3)], expected_version=NO_STREAM)
        with pytest.raises(StoreUnavailable, match="up to position 1 and not to 3: appends in flight hide"):
            await export_of(store)


async def test_a_log_that_stalls_again_and_again_is_exported_all_the_same() -> None:
    class Stalling(MemoryBackend):
        calls = 0

        async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
            self.calls += 1
            page = await super().read_all(start, limit, direction, filter)
            return replace(page, events=[], looked_to=start or 0) if self.calls % 3 else page

        async def wait(self, after: int, timeout: float) -> None:
            """Return for nothing, as a backend may."""

    async with EventStore(Stalling()) as store:
        await store.append("order-1", [NewEvent("Happened", {}) for _ in range(6_000)], expected_version=NO_STREAM)
        assert len(await export_of(store)) == 6_002


async def test_a_damaged_snapshot_is_named() -> None:
    async with open_store("memory://") as store:
        await store.append("order-1", [NewEvent("Happened", {})], expected_version=NO_STREAM)
        await store._backend.save_snapshot(EncodedSnapshot("order-1", 1, b"[1]"))
        with pytest.raises(StorageError, match="the snapshot of 'order-1' is damaged"):
            await export_of(store)
        await store._backend.save_snapshot(EncodedSnapshot("order-1", 1, b"{1"))
        with pytest.raises(StorageError, match="the snapshot of 'order-1' is damaged"):
            await export_of(store)


async def test_a_damaged_store_is_not_exported() -> None:
    class Damaged(MemoryBackend):
        async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
            page = await super().read_all(start, limit, direction, filter)
            page.events[:] = [event for event in page.events if event.version != 2]
            return page

    async with EventStore(Damaged()) as store:
        await store.append("order-1", [NewEvent("Happened", {}) for _ in range(3)], expected_version=NO_STREAM)
        with pytest.raises(StorageError, match="'order-1' lacks events that were not truncated"):
            await export_of(store)

"""Files that are damaged, locked, or lost a part: the error names the file and says what to do; no event is lost."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from pathlib import Path

import pytest

from eventstore import ANY, EventStore, NewEvent, StorageError, StoreUnavailable, StreamWrite, open_store
from tests.sqlite.making import content_of, event, events, file_names, overwrite, start_python, versions

pytestmark = pytest.mark.asyncio

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def write_much(url: str) -> None:
    async with open_store(url) as store:
        for number in range(20):
            await store.append(f"order-{number}", events(100), expected_version=0)


# --- Damage ----------------------------------------------------------------------------------------------------------


def header(content: bytes) -> bytes:
    return b"\xff" * 100 + content[100:]


def first_bytes(content: bytes) -> bytes:
    return b"no longer SQL" + content[13:]


def schema_page(content: bytes) -> bytes:
    return content[:100] + b"\xff" * (PAGE - 100) + content[PAGE:]


def pages_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // PAGE // 2 * PAGE
    return content[: middle - 8 * PAGE] + b"\xff" * 16 * PAGE + content[middle + 8 * PAGE :]


def cut_in_half(content: bytes) -> bytes:
    return content[: len(content) // PAGE // 2 * PAGE]


def cut_in_the_header(content: bytes) -> bytes:
    return content[:50]


@pytest.mark.parametrize(
    "damage", [header, first_bytes, schema_page, pages_in_the_middle, cut_in_half, cut_in_the_header]
)
async def test_a_damaged_file_is_named_with_what_to_do(path: Path, url: str, damage: object) -> None:
    await write_much(url)
    broken = damage(content_of(path))  # type: ignore[operator]
    overwrite(path, broken)
    with pytest.raises(StorageError, match=r"restore it from a backup|name another file") as caught:
        await use_all_of(url)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert content_of(path)[: len(broken)] == broken, "it is left as it was found"


async def use_all_of(url: str) -> None:
    async with open_store(url, retry_timeout=0) as store:
        assert [event async for event in store.read_all()]
        for number in range(20):
            assert await versions(store, f"order-{number}")
        assert [info async for info in store.list_streams()]


async def test_a_file_that_is_damaged_while_the_store_is_open_is_a_storage_error(path: Path, url: str) -> None:
    await write_much(url)
    async with open_store(url, retry_timeout=0) as store:
        overwrite(path, pages_in_the_middle(content_of(path)))
        with pytest.raises(StorageError, match="restore it from a backup"):
            assert [event async for event in store.read_all()]


@pytest.mark.parametrize("column", ["data", "metadata", "event_id"])
async def test_an_event_whose_text_is_damaged_is_named(path: Path, url: str, column: str) -> None:
    async with open_store(url) as store:
        await store.append("order-1", events(3), expected_version=0)
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE events SET {column} = '{{\"cut' WHERE version = 2")
        connection.close()
        for reading in (store.read_stream("order-1"), store.read_all()):
            with pytest.raises(StorageError, match=r"event at position 2 \(stream 'order-1'\) is damaged"):
                assert [found async for found in reading] == []
        assert [found.version async for found in store.read_stream("order-1", from_version=3)] == [3]


async def test_an_append_to_a_damaged_file_is_refused_and_leaves_the_store_usable(path: Path, url: str) -> None:
    await write_much(url)
    overwrite(path, pages_in_the_middle(content_of(path)))
    outcomes = []
    async with open_store(url, retry_timeout=0) as store:
        for number in range(20):
            try:
                await store.append(f"order-{number}", [event()], expected_version=ANY)
            except StorageError as error:
                outcomes.append(str(error))
        await asyncio.wait_for(store.close(), 30)
    assert outcomes
    assert all(str(path) in outcome for outcome in outcomes)


# --- Locks -----------------------------------------------------------------------------------------------------------

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["append", "append_many", "group", "transaction", "checkpoint"])
async def test_a_lock_held_by_another_process_is_unavailable_and_then_it_works(path: Path, url: str, way: str) -> None:
    async with open_store(url, busy_timeout=0.05, retry_timeout=0) as store:
        await store.append("order-1", [event()], expected_version=0)
        process = await start_python(LOCK, str(path), "BEGIN IMMEDIATE")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"locked\n"
        with pytest.raises(StoreUnavailable, match="raise busy_timeout") as caught:
            await write(store, way)
        assert str(path) in str(caught.value)
        assert not caught.value.outcome_unknown
        assert await versions(store, "order-1") == [1]
        process.kill()
        await process.wait()
        await write(store, way)


async def write(store: EventStore, way: str) -> None:
    match way:
        case "append":
            await store.append("order-1", [event()], expected_version=1)
        case "append_many":
            await store.append_many([StreamWrite(f"order-{number}", [event()], ANY) for number in (1, 2)])
        case "group":
            appends = (store.append(f"group-{number}", [event()], expected_version=0) for number in range(10))
            outcomes = await asyncio.gather(*appends, return_exceptions=True)
            errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if errors:
                assert len(errors) == 10
                raise errors[-1]
        case "transaction":
            async with store.transaction() as tx:
                await tx.append("order-1", [event()], expected_version=1)
        case "checkpoint":
            await store.save_checkpoint("reader", 1, expected=0)


async def test_a_file_locked_to_readers_as_well_cannot_be_opened_and_then_it_can(path: Path, url: str) -> None:
    await write_much(url)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("PRAGMA journal_mode = delete")
    locker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="is locked"):
        await open_store(url, busy_timeout=0.05).open()
    locker.execute("ROLLBACK")
    locker.close()
    await use_all_of(url)


# --- Lost parts ------------------------------------------------------------------------------------------------------

APPEND_FOR_EVER = """
import asyncio, sys
import eventstore
from eventstore import ANY, NewEvent, StreamWrite

async def main():
    async with eventstore.open_store(sys.argv[1]) as store:
        await asyncio.gather(*(write(store, writer) for writer in range(6)))

async def write(store, writer):
    number = 0
    while True:
        writes = [StreamWrite(f"{side}-{writer}-{number}", batch(), 0) for side in ("left", "right")]
        await store.append_many(writes)
        print(writer, number, flush=True)
        number += 1

def batch():
    return [NewEvent("Happened", {"text": "x" * 500}) for _ in range(3)]

asyncio.run(main())
"""


async def killed_in_mid_append(url: str, after: int) -> set[tuple[int, int]]:
    """Kill a process that appends, when it has acknowledged so much; return all that it has."""
    process = await start_python(APPEND_FOR_EVER, url)
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest, _ = await process.communicate()
    # A last line may be cut off: it was acknowledged, and nobody was told.
    whole = b"".join(lines) + rest[: rest.rfind(b"\n") + 1]
    return {(int(writer), int(number)) for writer, number in map(bytes.split, whole.splitlines())}


async def check_history(url: str, acknowledged: set[tuple[int, int]]) -> None:
    async with open_store(url) as store:
        log = [event async for event in store.read_all()]
        assert [event.global_position for event in log] == sorted({event.global_position for event in log})
        found: dict[str, list[int]] = {}
        for recorded in log:
            found.setdefault(recorded.stream_id, []).append(recorded.version)
        assert all(numbers == [1, 2, 3] for numbers in found.values()), "a batch is whole"
        sides = {
            side: {name.partition("-")[2] for name in found if name.startswith(side)} for side in ("left", "right")
        }
        assert sides["left"] == sides["right"], "all streams of an append_many, or none"
        assert {f"{writer}-{number}" for writer, number in acknowledged} <= sides["left"]
        await store.append("after", [event()], expected_version=ANY)


@pytest.mark.parametrize("after", [1, 7, 40, 150])
async def test_what_a_killed_writer_acknowledged_is_there_and_nothing_of_it_by_halves(url: str, after: int) -> None:
    acknowledged = await killed_in_mid_append(url, after)
    assert len(acknowledged) >= after
    await check_history(url, acknowledged)


async def test_the_shared_memory_file_of_a_killed_writer_may_be_removed(tmp_path: Path, url: str) -> None:
    acknowledged = await killed_in_mid_append(url, 40)
    assert file_names(tmp_path) == ["events.db", "events.db-shm", "events.db-wal"]
    (tmp_path / "events.db-shm").unlink()
    await check_history(url, acknowledged)


async def test_without_the_write_ahead_log_of_a_killed_writer_all_is_there_that_was_in_the_file(
    tmp_path: Path, url: str
) -> None:
    await write_much(url)
    await killed_in_mid_append(url, 40)
    (tmp_path / "events.db-wal").unlink()
    await check_what_was_written(url)


async def check_what_was_written(url: str) -> None:
    async with open_store(url) as store:
        for number in range(20):
            assert await versions(store, f"order-{number}") == list(range(1, 101))
        await store.append("after", [NewEvent("Happened", {})], expected_version=ANY)


async def test_a_closed_store_has_all_in_one_file(tmp_path: Path, url: str) -> None:
    await write_much(url)
    assert file_names(tmp_path) == ["events.db"]
    for leftover in ("events.db-wal", "events.db-shm"):
        overwrite(tmp_path / leftover, b"")
    await check_what_was_written(url)

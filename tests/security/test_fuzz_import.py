"""Whatever a file holds, its import stores what the file says, or refuses it in our own words and writes nothing."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventstore import EventStore, ImportConflict, InvalidExport, open_store
from eventstore.cli.commands import eventstore
from eventstore.events import canonical_json
from eventstore_conformance.observing import collect
from tests.moving.contents import contents_of, export_of, fill_with_everything, to_be_changed

many = settings(max_examples=300, deadline=None)
few = settings(max_examples=40, deadline=None)


async def _sound_lines() -> list[bytes]:
    async with open_store("memory://") as store:
        await fill_with_everything(store)
        return to_be_changed(await export_of(store))


SOUND = asyncio.run(_sound_lines())
TEXT = b"".join(SOUND)


async def import_into(store: EventStore, text: bytes) -> bool:
    """Import a file, and tell whether it was taken; check what the store is then."""
    before = await contents_of(store)
    try:
        imported = await store.import_from(io.BytesIO(text))
    except InvalidExport as error:
        assert str(error)
        assert 1 <= error.line <= text.count(b"\n") + 2
        assert await contents_of(store) == before
        return False
    except ImportConflict as error:
        assert str(error)
        assert (await store.verify()).is_sound
        return False
    assert (await store.verify()).is_sound
    await check_says_the_same(store, text, imported.left_out)
    return True


async def check_says_the_same(store: EventStore, text: bytes, left_out: int) -> None:
    """Compare a store with a reading of the file that shares nothing with ours."""
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    first = {line["stream_id"]: line["first_version"] for line in lines if line["record"] == "stream"}
    events = [line for line in lines if line["record"] == "event"]
    kept = [line for line in events if line["version"] >= first.get(line["stream_id"], 1)]
    assert len(events) - len(kept) == left_out
    log = await collect(store.read_all())
    assert [facts(line) for line in kept] == [facts(msgspec.to_builtins(event)) for event in log]


def facts(event: dict[str, Any]) -> object:
    return (
        event["stream_id"],
        event["version"],
        UUID(event["event_id"]),
        event["event_type"],
        msgspec.convert(event["created_at"], type=datetime).astimezone(UTC),
        canonical_json(event["data"]),
        canonical_json(event["metadata"]),
    )


def tried(text: bytes) -> bool:
    async def run() -> bool:
        async with open_store("memory://") as store:
            return await import_into(store, text)

    return asyncio.run(run())


# --- Bytes -----------------------------------------------------------------------------------------------------------

EDITS = st.lists(
    st.tuples(
        st.integers(0, len(TEXT)),
        st.integers(0, 40),
        st.binary(max_size=6)
        | st.sampled_from([b"\n", b"{", b'"', b"\\u0000", b"\\ud800", b"9" * 30, b"1e999", b"-0.0"]),
    ),
    min_size=1,
    max_size=3,
)


@many
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b"")
@example(b"\xef\xbb\xbf" + TEXT)
def test_any_bytes_are_an_export_or_are_refused(text: bytes) -> None:
    assert not tried(text)


@many
@given(EDITS)
def test_an_export_with_a_slip_is_one_or_is_refused(edits: list[tuple[int, int, bytes]]) -> None:
    text = TEXT
    for at, length, put in edits:
        text = text[:at] + put + text[at + length :]
    tried(text)


@few
@given(st.permutations(range(len(SOUND))))
def test_lines_in_another_order_are_an_export_or_are_refused(order: list[int]) -> None:
    tried(b"".join(SOUND[index] for index in order))


@few
@given(st.lists(st.integers(0, len(SOUND) - 1), max_size=2 * len(SOUND)))
def test_any_choice_of_lines_is_an_export_or_is_refused(chosen: list[int]) -> None:
    tried(b"".join(SOUND[index] for index in chosen))


# --- Values ----------------------------------------------------------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 30)
    | st.sampled_from([2**31, 2**62, 2**63 - 2, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=[]), max_size=8)
    | st.sampled_from(["order-1", "gone-1", "never-1", "picky", "settings", "partition/0001", "parked/0000/", "event"])
    | st.sampled_from(["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "1900-01-01T00:00:00+23:59"])
    | st.uuids().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@many
@given(st.data())
def test_an_export_with_another_value_is_one_or_is_refused(data: st.DataObject) -> None:
    lines = [json.loads(line) for line in SOUND]
    for _ in range(data.draw(st.integers(1, 3))):
        line = data.draw(st.sampled_from(lines))
        inner = line.get("data")
        if not isinstance(inner, dict) or not inner or data.draw(st.booleans()):
            inner = line
        field = data.draw(st.sampled_from(sorted(inner)))
        inner[field] = data.draw(VALUES)
    tried("".join(json.dumps(line) + "\n" for line in lines).encode())


# --- A store that has events, and the command ----------------------------------------------------------------------


@few
@given(st.data())
def test_whatever_is_imported_a_store_keeps_what_it_has(data: st.DataObject) -> None:
    lines = [json.loads(line) for line in SOUND]
    line = data.draw(st.sampled_from(lines[1:-1]))
    line[data.draw(st.sampled_from(sorted(line)))] = data.draw(VALUES)
    changed = "".join(json.dumps(line) + "\n" for line in lines).encode()
    first, second = data.draw(st.sampled_from([(TEXT, changed), (changed, TEXT)]))

    async def run() -> None:
        async with open_store("memory://") as store:
            await import_into(store, first)
            had = await collect(store.read_all())
            await import_into(store, second)
            assert (await collect(store.read_all()))[: len(had)] == had

    asyncio.run(run())


@few
@given(EDITS | st.binary(max_size=100))
@example([(0, 0, b"")])
def test_the_command_ends_in_words_whatever_the_file(edits: list[tuple[int, int, bytes]] | bytes) -> None:
    text = edits if isinstance(edits, bytes) else TEXT
    if not isinstance(edits, bytes):
        for at, length, put in edits:
            text = text[:at] + put + text[at + length :]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.write_bytes(text)
        result = CliRunner().invoke(eventstore, ["import", f"sqlite:///{folder}/new.db", str(file)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        if result.exit_code == 0:
            assert " stored" in result.stdout
        else:
            assert result.exit_code == 2
            assert result.stderr.startswith((f"Error: {file}: line ", "Error: the import stopped at line "))
            assert result.stderr.startswith("Error: the import") or not Path(folder, "new.db").exists()


def test_the_file_that_is_changed_is_sound() -> None:
    assert tried(TEXT)


@pytest.mark.parametrize("change", [b"3", b"4"])
def test_the_oracle_sees_what_was_not_stored(change: bytes) -> None:
    """The comparison of the fuzzers can fail."""

    async def run() -> None:
        async with open_store("memory://") as store:
            await store.import_from(io.BytesIO(TEXT))
            with pytest.raises(AssertionError):
                await check_says_the_same(store, TEXT.replace(b'"n":2', b'"n":' + change, 1), 0)

    asyncio.run(run())

"""Chapter Snapshots."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    EventStore,
    InvalidArgument,
    InvalidEvent,
    Snapshot,
    StreamDeleted,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.data import EXACT_VALUES
from eventstore_conformance.making import (
    BAD_COUNTS,
    BAD_NAMES,
    LOOKALIKES,
    MIB,
    PECULIAR_NAMES,
    object_of_size,
    some_events,
)
from eventstore_conformance.observing import collect, nothing_written, same_json, stream_of


async def load(store: EventStore, stream_id: str) -> Snapshot:
    """Load a snapshot that is there."""
    snapshot = await store.load_snapshot(stream_id)
    assert snapshot is not None
    return snapshot


async def with_events(store: EventStore, count: int, stream_id: str = "cart-1") -> None:
    """Make a stream of so many events."""
    await store.append(stream_id, some_events(count), expected_version=NO_STREAM)


class Snapshots(Chapter):
    """`save_snapshot`, `load_snapshot`, `delete_snapshots`."""

    async def test_a_saved_snapshot_is_loaded(self, store: EventStore) -> None:
        """SNAPSHOT-01: A snapshot is loaded as it was saved, with the store's time in UTC."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 3, {"total": "9.90", "items": [1, 2.5, None]})
        snapshot = await load(store, "cart-1")
        assert (snapshot.stream_id, snapshot.version) == ("cart-1", 3)
        assert snapshot.data == {"total": "9.90", "items": [1, 2.5, None]}
        assert snapshot.created_at.utcoffset() == timedelta(0)
        assert abs(snapshot.created_at - datetime.now(UTC)) < timedelta(hours=1)

    async def test_without_a_snapshot_there_is_none(self, store: EventStore) -> None:
        """SNAPSHOT-02: A stream without a snapshot, or no stream at all, has None."""
        await with_events(store, 1)
        assert await store.load_snapshot("cart-1") is None
        assert await store.load_snapshot("cart-2") is None

    async def test_a_later_version_replaces_an_earlier_one(self, store: EventStore) -> None:
        """SNAPSHOT-03: The snapshot of the highest version is the one that is loaded."""
        await with_events(store, 5)
        for version in (1, 3, 5):
            await store.save_snapshot("cart-1", version, {"version": version})
            assert (await load(store, "cart-1")).data == {"version": version}

    async def test_an_earlier_version_never_replaces_a_later_one(self, store: EventStore) -> None:
        """SNAPSHOT-04: A snapshot that comes too late is passed over without an error."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 4, {"version": 4})
        await store.save_snapshot("cart-1", 3, {"version": 3})
        assert (await load(store, "cart-1")).data == {"version": 4}

    async def test_the_same_version_again_replaces(self, store: EventStore) -> None:
        """SNAPSHOT-05: Of two snapshots of one version the later save stays."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 4, {"shape": "old"})
        await store.save_snapshot("cart-1", 4, {"shape": "new"})
        assert (await load(store, "cart-1")).data == {"shape": "new"}

    async def test_a_snapshot_ahead_of_its_stream_is_refused(self, store: EventStore) -> None:
        """SNAPSHOT-06: A version that the stream has not reached raises `WrongExpectedVersion`; nothing is kept."""
        await with_events(store, 5)
        with pytest.raises(WrongExpectedVersion) as refusal:
            await store.save_snapshot("cart-1", 6, {})
        assert refusal.value.mismatches == (("cart-1", 6, 5),)
        with pytest.raises(WrongExpectedVersion) as refusal:
            await store.save_snapshot("none-1", 1, {})
        assert refusal.value.mismatches == (("none-1", 1, 0),)
        assert await store.load_snapshot("cart-1") is None
        assert await store.load_snapshot("none-1") is None

    async def test_a_snapshot_changes_nothing_else(self, store: EventStore) -> None:
        """SNAPSHOT-07: Snapshots touch neither streams nor the log."""
        await with_events(store, 5)
        async with nothing_written(store):
            await store.save_snapshot("cart-1", 5, {})
            await store.delete_snapshots("cart-1")

    async def test_deleted_snapshots_are_gone(self, store: EventStore) -> None:
        """SNAPSHOT-08: After `delete_snapshots` there is none, and one of any version may be saved again."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 5, {"version": 5})
        await store.delete_snapshots("cart-1")
        await store.delete_snapshots("cart-1")
        assert await store.load_snapshot("cart-1") is None
        await store.save_snapshot("cart-1", 2, {"version": 2})
        assert (await load(store, "cart-1")).version == 2

    async def test_a_snapshot_outlives_the_truncation_below_it(self, store: EventStore) -> None:
        """SNAPSHOT-09: A truncated stream is rebuilt from its snapshot and what follows."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 3, {"version": 3})
        await store.truncate_stream("cart-1", 4)
        assert (await load(store, "cart-1")).version == 3
        await store.truncate_stream("cart-1", 99)
        await store.save_snapshot("cart-1", 5, {"version": 5})
        assert (await load(store, "cart-1")).version == 5

    @pytest.mark.parametrize("erase", [False, True], ids=["deleted", "erased"])
    async def test_a_deleted_stream_has_no_snapshot_and_takes_none(self, store: EventStore, erase: bool) -> None:
        """SNAPSHOT-10: Deleting a stream removes its snapshot; saving another raises `StreamDeleted`."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 5, {})
        await store.delete_stream("cart-1", expected_version=5, erase=erase)
        assert await store.load_snapshot("cart-1") is None
        for version in (1, 5, 6):
            with pytest.raises(StreamDeleted):
                await store.save_snapshot("cart-1", version, {})
        await store.delete_snapshots("cart-1")
        assert await store.load_snapshot("cart-1") is None

    async def test_of_racing_snapshots_the_latest_version_stays(
        self, two_stores: tuple[EventStore, EventStore]
    ) -> None:
        """SNAPSHOT-11: Whatever the order in which they arrive, the highest version stays."""
        await with_events(two_stores[0], 20)
        order = [7, 20, 3, 15, 1, 19, 11, 5]
        await asyncio.gather(
            *(two_stores[n % 2].save_snapshot("cart-1", version, {"v": version}) for n, version in enumerate(order))
        )
        assert (await load(two_stores[0], "cart-1")).data == {"v": 20}

    # --- Data and names ------------------------------------------------------------------------------------------

    async def test_data_is_kept_as_it_was(self, store: EventStore) -> None:
        """SNAPSHOT-12: A snapshot's data is read as it was written, as an event's is."""
        await with_events(store, 1)
        for value in EXACT_VALUES:
            await store.save_snapshot("cart-1", 1, {"value": value, "list": [value]})
            assert same_json((await load(store, "cart-1")).data, {"value": value, "list": [value]})

    async def test_data_of_just_the_limit_is_kept(self, store: EventStore) -> None:
        """SNAPSHOT-13: Data of 1 MiB of JSON text is kept, one byte more is refused."""
        await with_events(store, 1)
        with pytest.raises(InvalidEvent):
            await store.save_snapshot("cart-1", 1, object_of_size(MIB + 1))
        assert await store.load_snapshot("cart-1") is None
        await store.save_snapshot("cart-1", 1, object_of_size(MIB))
        assert (await load(store, "cart-1")).data == object_of_size(MIB)

    @pytest.mark.parametrize(
        ("data", "path"),
        [({"x": [float("nan")]}, "$.x[0]"), ({"x": "\0"}, "$.x"), ({"x": 2**63}, "$.x"), ([], "$"), (None, "$")],
    )
    async def test_what_is_no_json_is_refused(self, store: EventStore, data: Any, path: str) -> None:
        """SNAPSHOT-14: A snapshot's data is held to the data model of events."""
        await with_events(store, 1)
        with pytest.raises(InvalidEvent) as refusal:
            await store.save_snapshot("cart-1", 1, data)
        assert refusal.value.path == path
        assert await store.load_snapshot("cart-1") is None

    async def test_changing_a_snapshot_changes_nothing(self, store: EventStore) -> None:
        """SNAPSHOT-15: Neither what was passed in nor what was handed out is shared with the store."""
        await with_events(store, 1)
        data: dict[str, Any] = {"list": [1]}
        await store.save_snapshot("cart-1", 1, data)
        data["list"].append(2)
        (await load(store, "cart-1")).data["list"].append(3)
        assert (await load(store, "cart-1")).data == {"list": [1]}

    async def test_snapshots_are_kept_by_plain_names(self, store: EventStore) -> None:
        """SNAPSHOT-16: Each stream has its own snapshot, whatever its name looks like."""
        names = {*PECULIAR_NAMES, *(name for pair in LOOKALIKES for name in pair)}
        for name in names:
            await with_events(store, 1, name)
            await store.save_snapshot(name, 1, {"name": name})
        for name in names:
            assert (await load(store, name)).data == {"name": name}

    async def test_a_bad_snapshot_version_is_refused(self, store: EventStore) -> None:
        """SNAPSHOT-17: A version is an integer from 1 on."""
        await with_events(store, 1)
        bad_versions: list[Any] = [0, None, *BAD_COUNTS]
        for bad in bad_versions:
            with pytest.raises(InvalidArgument):
                await store.save_snapshot("cart-1", bad, {})

    @pytest.mark.parametrize("stream_id", BAD_NAMES, ids=ascii)
    async def test_a_bad_stream_id_has_no_snapshot(self, store: EventStore, stream_id: Any) -> None:
        """SNAPSHOT-18: What is no stream id has no snapshot."""
        with pytest.raises(InvalidArgument):
            await store.save_snapshot(stream_id, 1, {})
        with pytest.raises(InvalidArgument):
            await store.load_snapshot(stream_id)
        with pytest.raises(InvalidArgument):
            await store.delete_snapshots(stream_id)

    async def test_a_snapshot_and_the_events_after_it_are_the_stream(self, store: EventStore) -> None:
        """SNAPSHOT-19: Reading on from `snapshot.version + 1` gives what the snapshot does not have."""
        await with_events(store, 5)
        await store.save_snapshot("cart-1", 3, {})
        await store.append("cart-1", some_events(1), expected_version=ANY)
        snapshot = await load(store, "cart-1")
        rest = await collect(store.read_stream("cart-1", from_version=snapshot.version + 1))
        assert rest == (await stream_of(store, "cart-1"))[3:]

"""A store with all that can be moved, and what of a store must be the same after a move."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from eventstore import (
    ANY,
    NO_STREAM,
    Consumer,
    EventStore,
    Imported,
    NewEvent,
    OnError,
    RecordedEvent,
    Retry,
    StreamInfo,
    StreamWrite,
)
from eventstore.events import canonical_json
from eventstore_conformance.observing import collect

PAYLOAD = {
    "text": "Grüße, 日本 \U0001f600 \"'",
    "numbers": [0, -1, 2**63 - 1, 1.0, 1e300, -2.5e-7],
    "nested": {"a": [{}]},
}
QUICK = Retry(attempts=1)


async def handle_nothing(event: RecordedEvent) -> None:
    """Do nothing."""


async def refuse_odd(event: RecordedEvent) -> None:
    """Fail at every second event of `order-1`."""
    if event.stream_id == "order-1" and event.version % 2:
        raise ValueError(event.version)


def picky_consumer(store: EventStore) -> Consumer:
    """Return the consumer whose events are parked."""
    return store.consumer("picky", refuse_odd, partitions=2, on_error=OnError.PARK, retry=QUICK)


async def fill_with_everything(store: EventStore) -> None:
    """Fill an empty store: streams that alternate in the log, truncated, emptied, deleted, erased; and all the rest."""
    for number in range(3):
        await store.append_many(
            [
                StreamWrite(stream_id, [NewEvent("Counted", {**PAYLOAD, "n": number}, {"by": "me"})], ANY)
                for stream_id in ("order-1", "order-2", "short-1", "empty-1", "gone-1", "erased-1")
            ]
        )
    recorded = await store.append("order-2", [NewEvent(f"Closed{n}", {}) for n in range(4)], expected_version=3)
    await store.save_snapshot("order-1", 2, PAYLOAD)
    await store.save_snapshot("short-1", 3, {})
    await store.truncate_stream("short-1", 3)
    await store.truncate_stream("empty-1", 99)
    await store.delete_stream("gone-1", expected_version=3)
    await store.delete_stream("erased-1", expected_version=3, erase=True)
    await store.delete_stream("never-1", expected_version=NO_STREAM)
    await store.save_checkpoint("reader", recorded[1].global_position, expected=0)
    await picky_consumer(store).run_until_caught_up()


class Contents(NamedTuple):
    """What must be the same, whatever the positions."""

    events: list[bytes]
    streams: list[StreamInfo]
    snapshots: list[tuple[str, int, bytes]]
    read_by: dict[str, int]
    consumers: dict[str, list[int]]
    parked: list[tuple[object, str, int]]


async def contents_of(store: EventStore) -> Contents:
    """Return what a store has; positions are told by how many events stand up to there."""
    log = await collect(store.read_all())
    streams = await collect(store.list_streams(include_deleted=True))
    snapshots = await store._backend.list_snapshots(None, 1_000)
    checkpoints = await store._backend.list_checkpoints(None, 1_000)
    consumers = [status async for status in store.consumers()]

    def up_to(position: int) -> int:
        return sum(event.global_position <= position for event in log)

    parked = await picky_consumer(store).parked()
    return Contents(
        [event_text(event) for event in log],
        streams,
        [(kept.stream_id, kept.version, canonical_json(msgspec.json.decode(kept.data))) for kept in snapshots],
        {checkpoint.name: up_to(checkpoint.position) for checkpoint in checkpoints},
        {status.name: [up_to(part.position) for part in status.partitions] for status in consumers},
        [(kept.event and kept.event.event_id, kept.error, kept.attempts) for kept in parked],
    )


def event_text(event: RecordedEvent) -> bytes:
    """Return all of an event but its position."""
    return canonical_json(msgspec.to_builtins(msgspec.structs.replace(event, global_position=0)))


async def export_of(store: EventStore) -> list[bytes]:
    """Return the lines of a store's export."""
    return await collect(store.export())


def to_be_changed(lines: list[bytes]) -> list[bytes]:
    """Return the lines of an export without what tells that they are as they were exported."""
    end = msgspec.json.decode(lines[-1])
    del end["sha256"]
    return [*lines[:-1], msgspec.json.encode(end) + b"\n"]


def as_file(lines: Iterable[bytes]) -> io.BytesIO:
    """Return lines as a file."""
    return io.BytesIO(b"".join(lines))


async def import_lines(store: EventStore, lines: Iterable[bytes], **options: Any) -> Imported:
    """Import lines into a store."""
    return await store.import_from(as_file(lines), **options)

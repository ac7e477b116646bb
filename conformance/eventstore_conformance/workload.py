"""Many workers at once on several stores of one database: what a history is recorded of."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle, islice
from typing import Final

from eventstore import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    CheckpointConflict,
    DuplicateEventId,
    EventStore,
    ExpectedVersion,
    Filter,
    RecordedEvent,
    StreamWrite,
    WrongExpectedVersion,
)
from eventstore_conformance.making import some_events
from eventstore_conformance.observing import let_others_run, log_of
from eventstore_conformance.recording import Journal, RecordingStore

STREAMS: Final = ("red-1", "red-2", "blue-1", "blue-2")
FILTERS: Final = (None, Filter(stream_types=["red"]), Filter(stream_id_prefix="blue-2"))
APPENDERS: Final = 8
APPENDS: Final = 12
READINGS_OF_THE_END: Final = 50


async def work(stores: Sequence[EventStore], seed: int, journal: Journal, *, cancelling: bool) -> list[RecordedEvent]:
    """Let workers loose on the stores, record them, and return the log once it is settled.

    The seed decides what is sent; when it arrives is up to the machine. `cancelling` lets go of some appends half-way.
    """
    workplaces = cycle(stores)
    sent: list[Sequence[StreamWrite]] = []
    appenders = [
        Appender(RecordingStore(store, journal, worker=f"appender {n}"), f"{seed}/{n}", sent, cancelling=cancelling)
        for n, store in enumerate(islice(workplaces, APPENDERS))
    ]
    appending = asyncio.gather(*(appender.run() for appender in appenders))
    followers = [
        follow(RecordingStore(next(workplaces), journal, worker=f"follower {n}"), wanted, appending)
        for n, wanted in enumerate(FILTERS)
    ]
    sharers = [share(RecordingStore(next(workplaces), journal, worker=f"sharer {n}"), appending) for n in range(2)]
    await asyncio.gather(appending, *followers, *sharers)
    return await settled_log(RecordingStore(stores[0], journal, worker="last"))


async def settled_log(store: RecordingStore) -> list[RecordedEvent]:
    """Append a last event, and return the log as soon as it reads up to there."""
    (last,) = await store.append("end-1", some_events(1), expected_version=NO_STREAM)
    for _ in range(READINGS_OF_THE_END):
        log = await log_of(store.store)
        if last.event_id in {event.event_id for event in log}:
            return log
    raise AssertionError(f"the log does not come to position {last.global_position}")


class Appender:
    """A worker that sends batches with every kind of expectation, some of them again, some of them half-heartedly."""

    def __init__(
        self, store: RecordingStore, seed: str, sent: list[Sequence[StreamWrite]], *, cancelling: bool
    ) -> None:
        self._store = store
        self._chance = random.Random(seed)  # noqa: S311 - chance that repeats is what is wanted
        self._sent = sent
        self._cancelling = cancelling

    async def run(self) -> None:
        """Append so many times."""
        for _ in range(APPENDS):
            writes = await self.next_writes()
            turns = self._chance.randint(0, 12) if self._cancelling and self._chance.random() < 0.3 else None
            append = asyncio.ensure_future(self.send(writes))
            if turns is not None:
                await let_others_run(turns)
                append.cancel()
            await asyncio.wait([append])
            with suppress(WrongExpectedVersion, DuplicateEventId, asyncio.CancelledError):
                append.result()
            await let_others_run(self._chance.randint(0, 3))

    async def send(self, writes: Sequence[StreamWrite]) -> None:
        """Append to one stream, or to several."""
        if len(writes) > 1:
            await self._store.append_many(writes)
        else:
            (write,) = writes
            await self._store.append(write.stream_id, write.events, expected_version=write.expected_version)

    async def next_writes(self) -> Sequence[StreamWrite]:
        """Return what to send next: something new, or what was sent before by whoever shares the list."""
        writes = await self._writes()
        self._sent.append(writes)
        return writes

    async def _writes(self) -> Sequence[StreamWrite]:
        if self._sent and self._chance.random() < 0.2:
            return self._chance.choice(self._sent)
        streams = self._chance.sample(STREAMS, self._chance.choice([1, 1, 1, 2]))
        writes = [
            StreamWrite(stream_id, some_events(self._chance.randint(1, 4)), await self._expectation(stream_id))
            for stream_id in streams
        ]
        if self._sent and self._chance.random() < 0.05:
            used = self._chance.choice(self._sent)[0].events[0]
            writes[0] = StreamWrite(streams[0], [*writes[0].events, used], ANY)
        return writes

    async def _expectation(self, stream_id: str) -> ExpectedVersion:
        expected = self._chance.choice([ANY, ANY, STREAM_EXISTS, NO_STREAM, *3 * [None]])
        return await self._store.store.stream_version(stream_id) if expected is None else expected


async def follow(store: RecordingStore, filter: Filter | None, appending: asyncio.Future[list[None]]) -> None:
    """Follow the log, bookmarking what was seen last, until nothing more is appended."""
    bookmark = 0
    finished = False
    while not finished:
        finished = appending.done()
        async for event in store.read_all(after=bookmark, filter=filter):
            bookmark = event.global_position
        await let_others_run()


async def share(store: RecordingStore, appending: asyncio.Future[list[None]]) -> None:
    """Work through the log a few events at a time, sharing a checkpoint with others who do the same."""
    finished = False
    while not finished:
        finished = appending.done()
        expected = await store.load_checkpoint("shared")
        position = expected
        async for event in store.read_all(after=expected, limit=5):
            position = event.global_position
        with suppress(CheckpointConflict):
            await store.save_checkpoint("shared", position, expected=expected)
        await let_others_run()

"""Chapter Stateful: a machine drives the store beside the model, and compares everything after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstore import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    Capability,
    CheckpointConflict,
    DuplicateEventId,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    Filter,
    NewEvent,
    RecordedEvent,
    StoreTransaction,
    StreamDeleted,
    StreamWrite,
    WrongExpectedVersion,
)
from eventstore_conformance.chapter import Chapter, MakeStore
from eventstore_conformance.effort import EFFORT
from eventstore_conformance.model import Model, Refused
from eventstore_conformance.observing import collect, ending, in_log_order, is_growing, positions
from eventstore_conformance.patience import bounds_itself, in_time

STREAMS = st.sampled_from(["a", "a-1", "A-1", "b%-1"])
CHECKPOINTS = ["reader", "Reader"]
# A number is relative to the stream's version: most are right, and those that are not are close.
EXPECTATIONS = st.sampled_from([0, 0, 0, 0, 0, -1, -2, 1, NO_STREAM, STREAM_EXISTS, STREAM_EXISTS, ANY, ANY, ANY])
FEW = st.integers(1, 4)
RECENT = st.integers(0, 5)

machine_settings = settings(
    max_examples=EFFORT.examples(25, thorough=1000),
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class Undo(Exception):
    """What rolls a transaction back."""


@dataclass
class RecordingModel(Model):
    """The model, and the events as the store recorded them."""

    recorded: dict[UUID, RecordedEvent] = field(default_factory=dict)


class StoreMachine(RuleBasedStateMachine):
    """One example: some calls on streams of a namespace of its own, in transactions or not."""

    def __init__(self, store: EventStore, run: Callable[[Awaitable[Any]], Any]) -> None:
        super().__init__()
        self.store = store
        self.run = run
        self.namespace = uuid4().hex
        self.start = self.run(store.head())
        self.model = RecordingModel()
        self.committed = self.model
        self.sent: list[StreamWrite] = []
        self.last_position = self.start
        self.session: EventStore | StoreTransaction = store
        self.transaction: AbstractAsyncContextManager[StoreTransaction] | None = None
        self.can_begin = Capability.TRANSACTIONS in store.capabilities

    # --- Appending -----------------------------------------------------------------------------------------------

    @initialize(counts=st.tuples(FEW, FEW))
    def begin_with_two_streams(self, counts: Sequence[int]) -> None:
        """Make two streams, so that the other rules have something to work on."""
        for stream, count in zip(("a-1", "b%-1"), counts, strict=True):
            self.append(stream, NO_STREAM, count)

    @rule(stream=STREAMS, expectation=EXPECTATIONS, count=FEW)
    def append(self, stream: str, expectation: Any, count: int) -> None:
        """Append a new batch."""
        self.send([self.write(stream, expectation, new_events(count))])

    @rule(streams=st.lists(STREAMS, min_size=2, max_size=3, unique=True), expectations=st.tuples(*[EXPECTATIONS] * 3))
    def append_many(self, streams: list[str], expectations: Sequence[Any]) -> None:
        """Append to several streams."""
        self.send(
            [
                self.write(stream, expectation, new_events(n))
                for n, (stream, expectation) in enumerate(zip(streams, expectations, strict=False), 1)
            ]
        )

    @precondition(lambda self: self.sent)
    @rule(pick=RECENT)
    def send_again(self, pick: int) -> None:
        """Send what was sent before, by whichever expectation it then had."""
        self.send([self.sent[-1 - pick % len(self.sent)]])

    @precondition(lambda self: self.sent)
    @rule(pick=RECENT, stream=st.none() | STREAMS, expectation=EXPECTATIONS)
    def send_with_another_expectation(self, pick: int, stream: str | None, expectation: Any) -> None:
        """Send events again with another expectation, or to another stream."""
        before = self.sent[-1 - pick % len(self.sent)]
        stream_id = self.name(stream) if stream else before.stream_id
        version = self.model.stream(stream_id).version
        first = version - len(before.events) if isinstance(expectation, int) else 0
        self.send([StreamWrite(stream_id, before.events, expected(first, expectation))])

    @precondition(lambda self: self.sent)
    @rule(pick=RECENT, change=st.sampled_from(["part", "order", "grown", "payload", "type"]))
    def send_changed(self, pick: int, change: str) -> None:
        """Send something like what was sent before."""
        before = self.sent[-1 - pick % len(self.sent)]
        events = list(before.events)
        match change:
            case "part":
                events = events[1:] or [*events, *new_events(1)]
            case "order":
                events.reverse()
            case "grown":
                events += new_events(1)
            case "payload":
                events[-1] = NewEvent(events[-1].event_type, {"other": 1.0}, {}, events[-1].event_id)
            case "type":
                events[0] = NewEvent("Other", events[0].data, events[0].metadata, events[0].event_id)
        self.send([StreamWrite(before.stream_id, events, before.expected_version)], keep=False)

    # --- Lifecycle -----------------------------------------------------------------------------------------------

    @rule(stream=STREAMS, before_version=st.integers(1, 9))
    def truncate(self, stream: str, before_version: int) -> None:
        """Truncate a stream."""
        stream_id = self.name(stream)
        self.both(
            lambda: self.model.truncate(stream_id, before_version),
            lambda: self.session.truncate_stream(stream_id, before_version),
        )

    # A deleted stream is of little use to the other rules: be sparing.
    @rule(stream=STREAMS, expectation=EXPECTATIONS, erase=st.booleans(), really=st.sampled_from([False, False, True]))
    def delete(self, stream: str, expectation: Any, erase: bool, really: bool) -> None:
        """Delete a stream, or erase it."""
        stream_id = self.name(stream)
        if not really and not self.model.stream(stream_id).deleted:
            return
        version = expected(self.model.stream(stream_id).version, expectation)
        self.both(
            lambda: self.model.delete(stream_id, version, erase=erase),
            lambda: self.session.delete_stream(stream_id, expected_version=version, erase=erase),
        )

    # --- Snapshots and checkpoints -------------------------------------------------------------------------------

    @rule(stream=STREAMS, version=st.integers(1, 6))
    def save_snapshot(self, stream: str, version: int) -> None:
        """Save a snapshot of any version."""
        stream_id, data = self.name(stream), {"state": uuid4().hex}
        self.both(
            lambda: self.model.save_snapshot(stream_id, version, data),
            lambda: self.session.save_snapshot(stream_id, version, data),
        )

    @rule(stream=STREAMS)
    def delete_snapshots(self, stream: str) -> None:
        """Forget a snapshot."""
        self.model.snapshots.pop(self.name(stream), None)
        self.run(self.session.delete_snapshots(self.name(stream)))

    @rule(name=st.sampled_from(CHECKPOINTS), position=st.integers(0, 5), off=st.sampled_from([0, 0, 0, 1]))
    def save_checkpoint(self, name: str, position: int, off: int) -> None:
        """Move a checkpoint, from where it is or not."""
        name = self.name(name)
        at = self.model.checkpoints.get(name, 0) + off
        self.both(
            lambda: self.model.save_checkpoint(name, position, at),
            lambda: self.session.save_checkpoint(name, position, expected=at, rewind=True),
        )

    # --- Transactions --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.can_begin and not self.transaction)
    @rule()
    def begin(self) -> None:
        """Begin a transaction; the other rules go on inside it."""
        self.transaction = self.store.transaction()
        self.session = self.run(self.transaction.__aenter__())
        self.model = deepcopy(self.committed)

    @precondition(lambda self: self.transaction)
    @rule()
    def commit(self) -> None:
        """Commit."""
        self.end_transaction(None)
        self.committed = self.model

    @precondition(lambda self: self.transaction)
    @rule()
    def roll_back(self) -> None:
        """Roll back."""
        self.end_transaction(Undo())
        self.model = self.committed

    def end_transaction(self, error: BaseException | None) -> None:
        """Leave the transaction, by an exception or without."""
        assert self.transaction is not None
        transaction, self.transaction, self.session = self.transaction, None, self.store
        with suppress(Undo):
            self.run(transaction.__aexit__(type(error) if error else None, error, None))

    def teardown(self) -> None:
        """Leave nothing in progress, and little behind: the examples share the store, and a failure takes many."""
        if self.transaction:
            self.end_transaction(Undo())
        self.run(self.erase_streams())

    async def erase_streams(self) -> None:
        """Erase what this example wrote."""
        async for info in ending(self.store.list_streams(prefix=self.namespace)):
            with suppress(EventStoreError):
                await self.store.delete_stream(info.stream_id, expected_version=ANY, erase=True)

    # --- Comparing -----------------------------------------------------------------------------------------------

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        """Compare all that can be read; in a transaction, inside and outside."""
        self.run(self.compare(self.session, self.model))
        self.run(self.compare_log(self.committed))
        if self.transaction:
            self.run(self.compare(self.store, self.committed))

    async def compare(self, session: EventStore | StoreTransaction, model: RecordingModel) -> None:
        """Compare what a session sees with a model."""
        listed = await collect(session.list_streams(prefix=self.namespace, include_deleted=True))
        assert listed == [model.info(stream_id) for stream_id in sorted(model.streams)]
        for stream_id, stream in model.streams.items():
            assert await session.stream_info(stream_id) == model.info(stream_id)
            if stream.deleted:
                with pytest.raises(StreamDeleted):
                    await collect(session.read_stream(stream_id))
            else:
                events = [model.recorded[event.event_id] for event in stream.events.values()]
                assert await collect(session.read_stream(stream_id)) == events
                assert await collect(session.read_stream(stream_id, backward=True, limit=2)) == events[:-3:-1]
            snapshot = await session.load_snapshot(stream_id)
            assert (snapshot and (snapshot.version, snapshot.data)) == model.snapshots.get(stream_id)
        for name in map(self.name, CHECKPOINTS):
            assert await session.load_checkpoint(name) == model.checkpoints.get(name, 0)

    async def compare_log(self, model: RecordingModel) -> None:
        """Compare the log with the model."""
        log = in_log_order(model.recorded[event_id] for event_id in model.event_ids())
        mine = Filter(stream_id_prefix=self.namespace)
        assert await collect(self.store.read_all(after=self.start, filter=mine)) == log
        assert await self.store.head() >= max(positions(log), default=self.start)

    # --- Inside --------------------------------------------------------------------------------------------------

    def name(self, stream: str) -> str:
        """Return a name in the namespace of this example."""
        return f"{self.namespace}{stream}"

    def write(self, stream: str, expectation: Any, events: list[NewEvent]) -> StreamWrite:
        """Return a write with an expectation relative to where the stream is."""
        stream_id = self.name(stream)
        return StreamWrite(stream_id, events, expected(self.model.stream(stream_id).version, expectation))

    def send(self, writes: list[StreamWrite], *, keep: bool = True) -> None:
        """Append in the model and in the store, and compare what they say."""
        if keep:
            self.sent += writes
        before = self.model.event_ids()
        versions, recorded = self.both(lambda: self.model.append(writes), lambda: self.session.append_many(writes)) or (
            [],
            [],
        )
        for write, numbers, records in zip(writes, versions, recorded, strict=False):
            assert [as_new(record) for record in records] == list(write.events)
            assert [(record.stream_id, record.version) for record in records] == [
                (write.stream_id, number) for number in numbers
            ]
        records = in_log_order(record for records in recorded for record in records)
        for record in records:
            if record.event_id in before:
                assert self.model.recorded[record.event_id] == record
        if records and records[0].event_id not in before:
            assert is_growing([self.last_position, *positions(records)])
            self.last_position = records[-1].global_position
            self.model.recorded |= {record.event_id: record for record in records}

    def both(self, on_model: Callable[[], Any], on_store: Callable[[], Awaitable[Any]]) -> tuple[Any, Any] | None:
        """Do the same to the model and to the store; return both results, None if both refuse for the same reason."""
        wanted = result_or_refusal(on_model)
        if isinstance(wanted, Refused):
            with pytest.raises(EventStoreError) as refusal:
                self.run(on_store())
            assert facts_of(refusal.value) == (wanted.error, wanted.facts)
            return None
        result = self.run(on_store())
        if isinstance(wanted, int):
            assert result == wanted
        return wanted, result


def result_or_refusal(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the refusal that it raises."""
    try:
        return call()
    except Refused as refused:
        return refused


def expected(version: int, expectation: Any) -> ExpectedVersion:
    """Return an expectation; a number is relative to `version`."""
    return max(0, version + expectation) if isinstance(expectation, int) else expectation


def new_events(count: int) -> list[NewEvent]:
    """Return a batch of different events."""
    return [NewEvent(f"Type{n}", {"n": n, "x": 1e23, "list": [n]}, {"of": count}) for n in range(count)]


def as_new(event: RecordedEvent) -> NewEvent:
    """Return the event as it was before it was appended."""
    return NewEvent(event.event_type, event.data, event.metadata, event.event_id)


def facts_of(error: EventStoreError) -> tuple[str, object]:
    """Return an error as the model would raise it."""
    match error:
        case StreamDeleted():
            facts: object = error.stream_id
        case DuplicateEventId():
            facts = set(error.event_ids)
        case WrongExpectedVersion():
            facts = list(error.mismatches)
        case CheckpointConflict():
            facts = (error.name, error.expected, error.actual)
        case _:
            facts = str(error)
    return type(error).__name__, facts


class Stateful(Chapter):
    """Any sequence of calls."""

    @bounds_itself
    async def test_any_sequence_of_calls_does_what_the_model_does(self, make_store: MakeStore) -> None:
        """STATE-01: Whatever is called in whatever order, in transactions or not, the store is what the model says."""

        def drive() -> None:
            with asyncio.Runner() as runner:

                def run(call: Awaitable[Any]) -> Any:
                    return runner.run(in_time(call, "one call of the machine", self.time_limit))

                store = make_store()
                run(store.open())
                try:
                    machine: Any = seed(EFFORT.seed_of("STATE-01"))(partial(StoreMachine, store, run))
                    run_state_machine_as_test(machine, settings=machine_settings)
                finally:
                    run(store.close())

        # The machine is not asynchronous: it has a thread, and a loop, of its own.
        await asyncio.to_thread(drive)

"""Group commit over a backend whose calls a test holds back and lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from eventstore import (
    ANY,
    Capability,
    EventStore,
    NewEvent,
    RecordedEvent,
    StorageError,
    StoreNotOpen,
    StoreUnavailable,
    group_commit,
)
from eventstore.backend import Deferred, Outcome, Transaction
from eventstore.group_commit import MAX_BYTES, MAX_EVENTS
from eventstore_memory import MemoryBackend

pytestmark = pytest.mark.asyncio

Append = asyncio.Task[list[RecordedEvent]]


class HeldMemory(MemoryBackend):
    """A store in memory whose appends begin when the test lets them."""

    capabilities = MemoryBackend.capabilities | {Capability.GROUP_COMMIT, Capability.CONCURRENT_CALLS}

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.held: dict[int, asyncio.Future[None]] = {}
        self.failure: Exception | None = None
        self.deferred: set[str] = set()

    async def append(  # type: ignore[override]  # a store in memory defers nothing, this one does
        self, transactions: Sequence[Transaction]
    ) -> Sequence[Outcome | Deferred]:
        self.calls.append([transaction[0].stream_id for transaction in transactions])
        number = len(self.calls)
        self.held[number] = asyncio.get_running_loop().create_future()
        await self.held[number]
        if self.failure is not None and "bad-1" in self.calls[number - 1]:
            raise self.failure
        company = len(transactions) > 1
        answers: list[Outcome | Deferred] = []
        for transaction in transactions:
            if company and transaction[0].stream_id in self.deferred:
                answers.append(Deferred())
            else:
                answers += await super().append([transaction])
        return answers

    def let_go(self, *numbers: int) -> None:
        """Let calls go on by their number, 1 being the first; all of them if none is named."""
        for number in numbers or self.held:
            if not self.held[number].done():
                self.held[number].set_result(None)


@pytest.fixture
def backend() -> HeldMemory:
    return HeldMemory()


@pytest_asyncio.fixture
async def store(backend: HeldMemory) -> AsyncIterator[EventStore]:
    async with EventStore(backend, retry_timeout=0) as store:
        yield store
        backend.let_go()


async def begin(store: EventStore, *stream_ids: str, events: int = 1) -> list[Append]:
    """Begin appends, and return when all have gone as far as they get."""
    appends = [
        asyncio.create_task(store.append(it, [NewEvent("E", {}) for _ in range(events)], expected_version=ANY))
        for it in stream_ids
    ]
    await settle()
    return appends


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def finish(backend: HeldMemory, *appends: Append) -> None:
    while not all(append.done() for append in appends):
        backend.let_go()
        await asyncio.sleep(0)


def names(count: int, prefix: str = "s") -> list[str]:
    return [f"{prefix}-{n}" for n in range(count)]


async def test_an_append_that_finds_the_backend_idle_goes_at_once(store: EventStore, backend: HeldMemory) -> None:
    await begin(store, "a-1", "b-1")
    assert backend.calls == [["a-1"], ["b-1"]]


async def test_those_that_come_meanwhile_go_together_in_their_order(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", "c-1", "d-1", "e-1")
    assert len(backend.calls) == 2
    backend.let_go(1)
    await settle()
    assert backend.calls[2:] == [["c-1", "d-1"]]
    await finish(backend, *appends)
    assert [append.result()[0].stream_id for append in appends] == ["a-1", "b-1", "c-1", "d-1", "e-1"]


async def test_each_of_two_calls_has_its_share(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", *names(18))
    backend.let_go(1)
    await settle()
    backend.let_go(2)
    await settle()
    assert [len(call) for call in backend.calls[2:]] == [10, 8]
    await finish(backend, *appends)


async def test_where_one_call_is_made_at_a_time_all_go_together() -> None:
    backend = HeldMemory()
    backend.capabilities = backend.capabilities - {Capability.CONCURRENT_CALLS}
    async with EventStore(backend) as store:
        appends = await begin(store, "a-1", *names(20))
        assert backend.calls == [["a-1"]]
        backend.let_go(1)
        await settle()
        assert backend.calls[1:] == [names(20)]
        await finish(backend, *appends)


async def test_a_group_has_a_bounded_number_of_events(store: EventStore, backend: HeldMemory) -> None:
    every = names(2 * MAX_EVENTS + 5)
    appends = await begin(store, "a-1", "b-1", *every)
    await finish(backend, *appends)
    assert backend.calls[2:] == [every[:MAX_EVENTS], every[MAX_EVENTS : 2 * MAX_EVENTS], every[2 * MAX_EVENTS :]]


async def test_a_group_has_a_bounded_size(store: EventStore, backend: HeldMemory) -> None:
    large = {"text": "x" * (MAX_BYTES // 2)}
    appends = await begin(store, "a-1", "b-1")
    appends += [asyncio.create_task(store.append(it, [NewEvent("E", large)], expected_version=ANY)) for it in names(3)]
    await settle()
    await finish(backend, *appends)
    assert backend.calls[2:] == [["s-0"], ["s-1"], ["s-2"]]


async def test_a_transaction_that_is_larger_than_a_group_goes_by_itself(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", "c-1")
    appends += await begin(store, "large-1", events=MAX_EVENTS + 1)
    appends += await begin(store, "d-1")
    await finish(backend, *appends)
    assert backend.calls[2:] == [["c-1"], ["large-1"], ["d-1"]]


async def test_nobody_overtakes_who_stands_in_line(store: EventStore, backend: HeldMemory) -> None:
    first = await begin(store, "a-1", "b-1", *names(3))
    backend.let_go(1)
    await settle()
    late = await begin(store, "late-1")
    await finish(backend, *first, *late)
    assert backend.calls[-2:] == [["s-0", "s-1"], ["s-2", "late-1"]]


# --- Failures --------------------------------------------------------------------------------------------------------


async def test_what_the_engine_cannot_store_in_company_goes_alone(store: EventStore, backend: HeldMemory) -> None:
    backend.failure = StorageError("too long for this index")
    appends = await begin(store, "a-1", "b-1", "c-1", "bad-1", "d-1")
    await finish(backend, *appends)
    assert [append.exception() for append in appends] == [None, None, None, backend.failure, None]
    assert sorted(backend.calls[3:]) == [["bad-1"], ["c-1"], ["d-1"]]


async def test_when_the_database_is_lost_each_member_gets_an_error_of_its_own(
    store: EventStore, backend: HeldMemory
) -> None:
    backend.failure = StoreUnavailable("lost", outcome_unknown=True)
    appends = await begin(store, "a-1", "b-1", "c-1", "bad-1")
    await finish(backend, *appends)
    errors = [append.exception() for append in appends[2:]]
    assert errors[0] is not errors[1]
    for error in errors:
        assert isinstance(error, StoreUnavailable)
        assert error.outcome_unknown
        assert error.__cause__ is backend.failure


async def test_a_mistake_in_a_backend_is_told_to_all(store: EventStore, backend: HeldMemory) -> None:
    backend.failure = ZeroDivisionError("a mistake")
    appends = await begin(store, "a-1", "b-1", "c-1", "bad-1")
    await finish(backend, *appends)
    assert [append.exception() for append in appends[2:]] == [backend.failure] * 2


async def test_a_deferred_transaction_waits_alone(store: EventStore, backend: HeldMemory) -> None:
    backend.deferred = {"slow-1"}
    appends = await begin(store, "a-1", "b-1", "slow-1", "c-1")
    backend.let_go(1, 2)
    await settle()
    backend.let_go(3)
    await settle()
    assert appends[3].done()
    assert backend.calls[3:] == [["slow-1"]]
    # Others of its stream do not get into a group; those of other streams do, and are not held up.
    more = await begin(store, "slow-1", "d-1", "e-1", "f-1", "slow-1")
    assert backend.calls[4:] == [["slow-1"], ["d-1"], ["e-1"], ["slow-1"]]
    backend.let_go(6, 7)
    await settle()
    backend.let_go(9)
    await settle()
    assert [append.done() for append in more] == [False, True, True, True, False]
    await finish(backend, *appends, *more)


async def test_who_is_in_line_behind_a_deferred_transaction_goes_apart(store: EventStore, backend: HeldMemory) -> None:
    backend.deferred = {"slow-1"}
    appends = await begin(store, "a-1", "b-1", "slow-1", "c-1")
    backend.let_go(1)
    await settle()
    appends += await begin(store, "slow-1", "d-1")
    backend.let_go(3)
    await settle()
    assert sorted(backend.calls[3:]) == [["d-1"], ["slow-1"], ["slow-1"]]
    await finish(backend, *appends)


async def test_nobody_waits_for_ever_behind_what_takes_its_time_alone(
    store: EventStore, backend: HeldMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_PATIENCE", 0)
    slow = await begin(store, "slow-1", "slow-2", "free-1")
    async with asyncio.timeout(20):
        while len(backend.calls) < 3:  # noqa: ASYNC110 - a timer of the loop
            await asyncio.sleep(0)
    backend.let_go(3)
    await settle()
    assert [append.done() for append in slow] == [False, False, True]
    # Who comes after them in their streams waits with them, in nobody's way.
    later = await begin(store, "slow-1", "free-2")
    assert backend.calls[3:] == [["slow-1"], ["free-2"]]
    await finish(backend, *slow, *later)


# --- Cancelling ------------------------------------------------------------------------------------------------------


async def test_cancelled_in_line_an_append_is_withdrawn(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", "c-1", "d-1")
    appends[2].cancel()
    await settle()
    assert appends[2].cancelled()
    await finish(backend, *appends)
    assert backend.calls[2:] == [["d-1"]]


async def test_cancelled_in_a_group_an_append_ends_with_the_group(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", "c-1", "d-1")
    backend.let_go(1)
    await settle()
    appends[2].cancel()
    await settle()
    assert not appends[2].done()
    backend.let_go(3)
    await settle()
    assert appends[2].cancelled()
    assert appends[3].done()
    assert await store.stream_version("c-1") == 1


async def test_a_group_whose_members_were_all_cancelled_is_cancelled(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", "c-1", "d-1")
    backend.let_go(1)
    await settle()
    for append in appends[2:]:
        append.cancel()
    await settle()
    assert all(append.cancelled() for append in appends[2:])
    assert backend.held[3].cancelled()
    assert await store.stream_version("c-1") == 0
    backend.let_go()
    later = await begin(store, "e-1")
    await finish(backend, *later)


# --- Closing ---------------------------------------------------------------------------------------------------------


async def test_closing_refuses_the_line_and_waits_for_what_is_written(store: EventStore, backend: HeldMemory) -> None:
    appends = await begin(store, "a-1", "b-1", "c-1", "d-1")
    backend.let_go(1)
    await settle()
    appends += await begin(store, "e-1", "f-1")
    backend.let_go(2)
    await settle()
    appends += await begin(store, "g-1")
    closing = asyncio.create_task(store.close())
    await settle()
    assert isinstance(appends[6].exception(), StoreNotOpen)
    assert not closing.done()
    backend.let_go()
    await closing
    assert [append.exception() for append in appends[:6]] == [None] * 6


async def test_closing_does_not_wait_for_ever(
    store: EventStore, backend: HeldMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_PATIENCE_AT_CLOSE", 0)
    appends = await begin(store, "a-1", "b-1", "c-1", "d-1")
    backend.let_go(1)
    await settle()
    await store.close()
    for append in appends[2:]:
        error = append.exception()
        assert isinstance(error, StoreUnavailable)
        assert error.outcome_unknown
    appends[1].cancel()

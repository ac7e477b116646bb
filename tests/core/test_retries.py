"""Calling again while the database is out of reach. Nothing sleeps: the waits are recorded instead."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from eventstore import ANY, EventStore, EventStoreError, NewEvent, StorageError, StoreReadOnly, StoreUnavailable
from eventstore.retries import call_again
from eventstore_memory import MemoryBackend

KNOWN = StoreUnavailable("not reached")
UNKNOWN = StoreUnavailable("lost on the way", outcome_unknown=True)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", wait)
    return waits


class Script:
    """A call that raises or returns one thing after the other."""

    def __init__(self, *results: object) -> None:
        self.results = list(results)

    async def __call__(self) -> object:
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


@pytest.mark.asyncio
async def test_a_call_is_repeated_until_it_succeeds(waits: list[float]) -> None:
    call = Script(KNOWN, UNKNOWN, KNOWN, "done")
    assert await call_again(KNOWN, 60, call) == "done"
    assert len(waits) == 3


@pytest.mark.asyncio
async def test_another_error_ends_it(waits: list[float]) -> None:
    call = Script(KNOWN, StorageError("the disk is full"), "never")
    with pytest.raises(StorageError):
        await call_again(KNOWN, 60, call)
    assert call.results == ["never"]


@pytest.mark.asyncio
async def test_a_call_that_must_not_run_twice_is_not_repeated_once_its_outcome_is_unknown() -> None:
    call = Script(KNOWN, UNKNOWN, "never")
    with pytest.raises(StoreUnavailable) as failure:
        await call_again(KNOWN, 60, call, if_unknown=False)
    assert failure.value is UNKNOWN
    assert call.results == ["never"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("first", "last", "unknown"),
    [
        (KNOWN, KNOWN, False),
        (UNKNOWN, KNOWN, True),
        (KNOWN, UNKNOWN, True),
        (UNKNOWN, UNKNOWN, True),
        (UNKNOWN, StoreReadOnly("a standby answers"), True),
        (UNKNOWN, StorageError("the disk is full"), True),
    ],
    ids=repr,
)
async def test_an_outcome_once_unknown_stays_unknown(
    first: StoreUnavailable, last: EventStoreError, unknown: bool
) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        await call_again(first, 0, Script(last))
    assert failure.value.outcome_unknown is unknown
    assert ("unknown" in str(failure.value)) is unknown
    assert failure.value is last or failure.value.__cause__ is last


class Flaky(MemoryBackend):
    """A memory backend whose appends fail first, having been stored or not."""

    def __init__(self, *failures: StoreUnavailable) -> None:
        super().__init__()
        self.failures = list(failures)

    async def append(self, transactions: Sequence[Any]) -> Sequence[Any]:
        if not self.failures:
            return await super().append(transactions)
        failure = self.failures.pop(0)
        if failure.outcome_unknown:
            await super().append(transactions)
        raise failure


@pytest.mark.asyncio
@pytest.mark.parametrize("failures", [[KNOWN], [UNKNOWN], [UNKNOWN, KNOWN, UNKNOWN, KNOWN]], ids=len)
async def test_a_store_repeats_an_append_and_stores_it_once(failures: list[StoreUnavailable]) -> None:
    async with EventStore(Flaky(*failures)) as store:
        for expected in (0, ANY):
            recorded = await store.append("cart-1", [NewEvent("Placed", {})], expected_version=expected)
            assert [event async for event in store.read_stream("cart-1")][-1:] == recorded
        assert await store.stream_version("cart-1") == 2


@pytest.mark.asyncio
async def test_a_store_told_not_to_try_again_raises_at_once(waits: list[float]) -> None:
    async with EventStore(Flaky(UNKNOWN), retry_timeout=0) as store:
        batch = [NewEvent("Placed", {})]
        with pytest.raises(StoreUnavailable) as failure:
            await store.append("cart-1", batch, expected_version=0)
        assert failure.value is UNKNOWN
        assert waits == []
        assert (await store.append("cart-1", batch, expected_version=0))[0].version == 1, "the true outcome"


class Forgetful(MemoryBackend):
    """A memory backend whose lifecycle calls are lost on the way, once."""

    def __init__(self, failure: StoreUnavailable) -> None:
        super().__init__()
        self.failures = [failure]

    async def truncate_stream(self, stream_id: str, before_version: int) -> int | None:
        if self.failures:
            raise self.failures.pop()
        return await super().truncate_stream(stream_id, before_version)


@pytest.mark.asyncio
async def test_what_cannot_be_repeated_is_repeated_only_if_it_certainly_did_nothing() -> None:
    for failure, removed in ((KNOWN, 1), (UNKNOWN, None)):
        async with EventStore(Forgetful(failure)) as store:
            await store.append("cart-1", [NewEvent("Placed", {})], expected_version=0)
            if removed is not None:
                assert await store.truncate_stream("cart-1", 2) == removed
                continue
            with pytest.raises(StoreUnavailable) as caught:
                await store.truncate_stream("cart-1", 2)
            assert caught.value is UNKNOWN

"""A store that is closed in the midst of writes ends them, each with its true outcome, and hangs nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from eventstore import (
    ANY,
    EventStore,
    EventStoreError,
    NewEvent,
    StoreNotOpen,
    StoreUnavailable,
    StreamWrite,
    open_store,
)
from tests.engines import ENGINES, url_for
from tests.faults.cancelling import PATIENCE, interrupted_at

pytestmark = pytest.mark.asyncio

CALLS = 5


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


async def append(store: EventStore, key: str) -> None:
    await store.append(f"a-{key}", [NewEvent("Happened", {}), NewEvent("Happened", {})], expected_version=0)


async def append_many(store: EventStore, key: str) -> None:
    await store.append_many([StreamWrite(f"{side}-{key}", [NewEvent("Happened", {})], ANY) for side in ("a", "b")])


async def run_transaction(store: EventStore, key: str) -> None:
    async with store.transaction() as tx:
        await tx.append(f"a-{key}", [NewEvent("Happened", {})], expected_version=0)
        await tx.append(f"b-{key}", [NewEvent("Happened", {})], expected_version=0)


Write = Callable[[EventStore, str], Awaitable[None]]
Outcomes = dict[str, EventStoreError | None]


@pytest.mark.parametrize("write", [append, append_many, run_transaction])
async def test_a_store_closed_at_any_suspension_of_a_write_tells_each_its_true_outcome(url: str, write: Write) -> None:
    alone = asyncio.all_tasks()
    for suspension in range(1, 60):
        store = open_store(url, retry_timeout=0)
        await store.open()
        outcomes, was_reached = await closed_in_the_midst(store, write, suspension)
        async with asyncio.timeout(PATIENCE):
            await store.close()
        assert asyncio.all_tasks() == alone
        assert all(isinstance(error, (StoreNotOpen, StoreUnavailable)) for error in outcomes.values() if error), (
            outcomes
        )
        if not url.startswith("memory"):
            await check_outcomes(url, outcomes)
        if not was_reached:
            break


async def closed_in_the_midst(store: EventStore, write: Write, suspension: int) -> tuple[Outcomes, bool]:
    """Make some calls at a time, and close the store at the so-many-th suspension of theirs."""
    outcomes: Outcomes = {}
    closing: list[asyncio.Task[None]] = []

    async def call(key: str) -> None:
        try:
            await write(store, key)
            outcomes[key] = None
        except EventStoreError as error:
            outcomes[key] = error

    async def calls() -> None:
        await asyncio.gather(*(call(f"{suspension}-{number}") for number in range(CALLS)))

    def close() -> bool:
        closing.append(asyncio.create_task(store.close()))
        return True

    was_reached = await interrupted_at(suspension, close, calls())
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*closing)
    return outcomes, was_reached


async def check_outcomes(url: str, outcomes: Outcomes) -> None:
    """Check that what was acknowledged is there, what was refused is not, and nothing by halves."""
    async with open_store(url) as store:
        found: dict[str, int] = {}
        async for event in store.read_all():
            key = event.stream_id.partition("-")[2]
            found[key] = found.get(key, 0) + 1
    for key, error in outcomes.items():
        unknown = isinstance(error, StoreUnavailable) and error.outcome_unknown
        assert found.get(key, 0) in ((0, 2) if unknown else (0,) if error else (2,)), (key, error)

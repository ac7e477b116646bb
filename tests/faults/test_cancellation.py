"""A write that is cancelled, at whichever of its suspensions, happened wholly or not at all, and disturbs nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from itertools import product
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import pytest_asyncio

from eventstore import ANY, EventStore, NewEvent, StreamWrite, open_store
from tests.engines import ENGINES, url_for
from tests.faults.cancelling import PATIENCE, Cancelled, Moment, cancelled_at
from tests.moving.making import file_of_events

pytestmark = pytest.mark.asyncio

OTHERS = 4
MANY = 500
"""More suspensions than any call has."""


class Write(NamedTuple):
    """A call that writes: what must be there before, the call itself, and what there is to see of it."""

    prepare: Callable[[EventStore, str], Awaitable[object]]
    call: Callable[[EventStore, str], Coroutine[Any, Any, object]]
    state: Callable[[EventStore, str], Awaitable[object]]


def events(count: int) -> list[NewEvent]:
    return [NewEvent("Happened", {"n": n}) for n in range(count)]


async def nothing(store: EventStore, key: str) -> None:
    """Prepare nothing."""


async def three_events(store: EventStore, key: str) -> None:
    await store.append(f"a-{key}", events(3), expected_version=0)


async def versions(store: EventStore, key: str) -> object:
    return {name: [event.version async for event in store.read_stream(f"{name}-{key}")] for name in ("a", "b")}


async def info(store: EventStore, key: str) -> object:
    found = await store.stream_info(f"a-{key}")
    return found and (found.version, found.first_version, found.deleted)


async def snapshot(store: EventStore, key: str) -> object:
    found = await store.load_snapshot(f"a-{key}")
    return found and found.version


async def checkpoint(store: EventStore, key: str) -> object:
    return await store.load_checkpoint(f"a-{key}")


async def all_of_it(store: EventStore, key: str) -> object:
    return [await look(store, key) for look in (versions, snapshot, checkpoint)]


async def append(store: EventStore, key: str) -> None:
    await store.append(f"a-{key}", events(3), expected_version=0)


async def append_many(store: EventStore, key: str) -> None:
    await store.append_many([StreamWrite(f"a-{key}", events(2), 0), StreamWrite(f"b-{key}", events(2), ANY)])


async def import_file(store: EventStore, key: str) -> None:
    await store.import_from(file_of_events((f"a-{key}", 1), (f"b-{key}", 1), (f"a-{key}", 2)))


async def run_transaction(store: EventStore, key: str) -> None:
    async with store.transaction() as tx:
        await tx.append(f"a-{key}", events(2), expected_version=0)
        await tx.save_snapshot(f"a-{key}", 2, {"n": 2})
        await tx.append(f"b-{key}", events(1), expected_version=0)
        await tx.save_checkpoint(f"a-{key}", 1, expected=0)


WRITES = {
    "append": Write(nothing, append, versions),
    "append_many": Write(nothing, append_many, versions),
    "import_from": Write(nothing, import_file, versions),
    "transaction": Write(nothing, run_transaction, all_of_it),
    "truncate_stream": Write(three_events, lambda store, key: store.truncate_stream(f"a-{key}", 3), info),
    "delete_stream": Write(
        three_events, lambda store, key: store.delete_stream(f"a-{key}", expected_version=3, erase=True), info
    ),
    "save_snapshot": Write(three_events, lambda store, key: store.save_snapshot(f"a-{key}", 3, {}), snapshot),
    "save_checkpoint": Write(nothing, lambda store, key: store.save_checkpoint(f"a-{key}", 9, expected=0), checkpoint),
}


# So few connections that one which is not given back is missed soon.
FEW_CONNECTIONS: dict[str, dict[str, Any]] = {
    "memory": {},
    "sqlite": {"readers": 2},
    "postgresql": {"pool_max": 2, "application_name": "cancelled"},
}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    options = FEW_CONNECTIONS[url.partition(":")[0]]
    async with open_store(url, retry_timeout=0, **options) as store:
        yield store


@pytest.mark.parametrize("others", [0, OTHERS], ids=["alone", "beside others"])
@pytest.mark.parametrize("name", WRITES)
async def test_a_write_cancelled_at_any_suspension_is_whole_or_absent(
    store: EventStore, name: str, others: int
) -> None:
    write = WRITES[name]
    before, after = await both_states(store, write)
    tasks = await tasks_at_rest()
    found: dict[str, object] = {}
    for moment in Moment:
        for suspension in range(1, MANY):
            keys = [f"{name}-{moment.name}-{suspension}-{number}" for number in range(others + 1)]
            outcome, states = await cancel_one_of(store, write, keys, suspension, moment)
            assert states[0] in (before, after)
            assert states[0] == after or not outcome.has_returned
            assert states[1:] == [after] * others, "the others are not cancelled with it"
            assert await tasks_at_rest() == tasks
            found |= dict(zip(keys, states, strict=True))
            if not outcome.was_reached:
                break
        else:
            pytest.fail("it is suspended for ever")
    at_last = {key: await write.state(store, key) for key in found}
    assert at_last == found, "nothing was still under way"
    await check_connections(store)


async def cancel_one_of(
    store: EventStore, write: Write, keys: list[str], suspension: int, moment: Moment
) -> tuple[Cancelled, list[object]]:
    """Make the call for each key, cancel the one for the first, and return what becomes of them all."""
    for key in keys:
        await write.prepare(store, key)
    # It comes between the others: some are under way, and in line, before it, and one comes after it.
    beside = [asyncio.create_task(write.call(store, key)) for key in keys[2:]]
    await asyncio.sleep(0)
    cancelling = asyncio.create_task(cancelled_at(suspension, moment, write.call(store, keys[0])))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    beside += [asyncio.create_task(write.call(store, key)) for key in keys[1:2]]
    outcome = await cancelling
    if moment is Moment.AGAIN_AND_AGAIN:
        await lost_connections_ended(store)
    state = await write.state(store, keys[0])
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*beside)
    return outcome, [state, *[await write.state(store, key) for key in keys[1:]]]


async def both_states(store: EventStore, write: Write) -> tuple[object, object]:
    key = uuid4().hex
    await write.prepare(store, key)
    before = await write.state(store, key)
    await write.call(store, key)
    after = await write.state(store, key)
    assert before != after
    return before, after


async def test_a_batch_that_was_cancelled_is_stored_once_when_it_is_sent_again(store: EventStore) -> None:
    for moment, suspension in product(Moment, range(1, 10)):
        batch, stream_id = events(3), f"a-{moment.name}-{suspension}"
        await cancelled_at(suspension, moment, store.append(stream_id, batch, expected_version=0))
        recorded = await store.append(stream_id, batch, expected_version=0)
        assert [event async for event in store.read_stream(stream_id)] == recorded
        assert [event.version for event in recorded] == [1, 2, 3]


# --- What is left ----------------------------------------------------------------------------------------------------


async def tasks_at_rest() -> set[str]:
    """Return the names of the tasks there are, once the one that tells others of a commit has ended."""
    telling = [task for task in asyncio.all_tasks() if task.get_name() == "eventstore notify"]
    if telling:
        await asyncio.wait(telling, timeout=PATIENCE)
    return {task.get_name() for task in asyncio.all_tasks()}


async def lost_connections_ended(store: EventStore) -> None:
    """Return when the server has no sessions but those of connections that are idle in the pool.

    Cancelled twice, psycopg closes the connection, and the server may still do what it has in hand.
    """
    backend: Any = store._backend
    if backend.name != "Postgres":
        return
    async with asyncio.timeout(PATIENCE):
        while await other_sessions(store) - {idle.info.backend_pid for idle in backend._pool._connections._pool}:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def other_sessions(store: EventStore) -> set[int]:
    async with store.transaction() as tx:
        cursor = await tx.connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'cancelled' AND pid <> pg_backend_pid()"
        )
        return {pid for (pid,) in await cursor.fetchall()}


async def check_connections(store: EventStore) -> None:
    """Check that all connections are back where they belong."""
    backend: Any = store._backend
    match backend.name:
        case "Postgres":
            await lost_connections_ended(store)
            await tasks_at_rest()
            figures = backend._pool._connections.get_stats()
            assert figures["pool_available"] == figures["pool_size"]
            assert not figures.get("requests_waiting")
        case "SQLite":
            connections = backend._connections
            assert not connections._writing.locked()
            assert len(connections._idle_readers) == len(connections._open) - 1

"""The limit on the size of a payload holds on every path that a payload can take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from eventstore import ANY, EventStore, InvalidEvent, JsonObject, NewEvent, RecordedEvent, StreamWrite, open_store
from eventstore.store import StoreTransaction
from tests.engines import ENGINES, url_for

pytestmark = pytest.mark.asyncio

LIMIT = 1000
FITS = {"text": "x" * (LIMIT - len('{"text":""}'))}
BY_ONE_BYTE: JsonObject = {"text": FITS["text"] + "x"}
IN_UTF_8: JsonObject = {"text": "ä" * (LIMIT // 2)}
IN_ESCAPES: JsonObject = {"text": "\x01" * (LIMIT // 6)}
"""Few characters, each of which takes six bytes of JSON text."""
IN_KEYS: JsonObject = {"k" * LIMIT: 0}
IN_NUMBERS: JsonObject = {"list": [12345678] * (LIMIT // 8)}
TOO_LARGE = [BY_ONE_BYTE, IN_UTF_8, IN_ESCAPES, IN_KEYS, IN_NUMBERS]

Path = Callable[[EventStore, JsonObject], Awaitable[object]]


async def in_a_transaction(store: EventStore, payload: JsonObject) -> None:
    async with store.transaction() as tx:
        await tx.append("order-1", [NewEvent("Happened", payload)], expected_version=ANY)


async def in_a_snapshot_in_a_transaction(store: EventStore, payload: JsonObject) -> None:
    async with store.transaction() as tx:
        await tx.save_snapshot("witness-1", 1, payload)


async def in_a_handler(store: EventStore, payload: JsonObject) -> None:
    errors: list[InvalidEvent] = []

    async def handle(event: RecordedEvent, tx: StoreTransaction) -> None:
        try:
            await tx.append("order-1", [NewEvent("Happened", payload)], expected_version=ANY)
        except InvalidEvent as error:
            errors.append(error)

    consumer = store.consumer("reader", handle)
    await consumer.reset()
    await consumer.run_until_caught_up()
    if errors:
        raise errors[0]


PATHS: dict[str, Path] = {
    "data": lambda store, payload: store.append("order-1", [NewEvent("Happened", payload)], expected_version=ANY),
    "metadata": lambda store, payload: store.append(
        "order-1", [NewEvent("Happened", {}, payload)], expected_version=ANY
    ),
    "the last of a batch": lambda store, payload: store.append(
        "order-1", [NewEvent("Happened", {}), NewEvent("Happened", payload)], expected_version=ANY
    ),
    "the last of many": lambda store, payload: store.append_many(
        [
            StreamWrite("order-1", [NewEvent("Happened", {})], ANY),
            StreamWrite("order-2", [NewEvent("Happened", payload)], ANY),
        ]
    ),
    "a transaction": in_a_transaction,
    "a snapshot": lambda store, payload: store.save_snapshot("witness-1", 1, payload),
    "a snapshot in a transaction": in_a_snapshot_in_a_transaction,
    "a handler": in_a_handler,
}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with open_store(url, max_event_size=LIMIT) as store:
        await store.append("witness-1", [NewEvent("Witnessed", {})], expected_version=0)
        yield store


async def test_what_is_too_large_is_refused_on_every_path_and_what_fits_is_stored(store: EventStore) -> None:
    for name, write in PATHS.items():
        head = await store.head()
        for payload in TOO_LARGE:
            with pytest.raises(InvalidEvent, match="the limit is 1,000"):
                await write(store, payload)
                pytest.fail(f"{name} takes it")
        assert [event async for event in store.read_all(after=head)] == [], "nothing of a refused batch is stored"
        assert await store.load_snapshot("witness-1") is None
    for write in PATHS.values():
        await write(store, FITS)

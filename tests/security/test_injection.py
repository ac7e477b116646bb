"""Whatever stands in a name, a filter, a payload or an option, it is data and never SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    ANY,
    EventStore,
    EventStoreError,
    Filter,
    InvalidArgument,
    NewEvent,
    RecordedEvent,
    StreamWrite,
    open_store,
)
from tests.sqlite.making import file_names

pytestmark = pytest.mark.asyncio

INJECTIONS = [
    "'; DROP TABLE events; --",
    '"; DROP TABLE events; --',
    "'); DELETE FROM events; --",
    "x' OR '1'='1",
    'x" OR "1"="1',
    "' UNION SELECT name FROM sqlite_master --",
    "'; SELECT pg_sleep(60); --",
    "\\'; DROP TABLE events; --",
    "$$; DROP TABLE events; $$",
    "$1",
    ":after_name",
    ":now",
    "?1",
    "@name",
    "%s",
    "%(name)s",
    "%(half",
    "%%s %",
    "{schema}",
    "{0.__class__}",
    "events",
    "pg_catalog.pg_class",
    "E'\\x27; DROP TABLE events'",
    "/* */ ; DROP TABLE events",
    "' || (SELECT data FROM events) || '",
    "a*'\"[%_]-\\_%",
    "\u02bc; DROP TABLE events; \u02bb",
    "\uff07; DROP TABLE events; --",
]

REFUSED = ["'\0; DROP TABLE events; --", "\n'; DROP TABLE events; --", "';\x1a DROP TABLE events"]
"""With control characters, which no name has."""


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def tables_in(url: str) -> set[str]:
    """Return the names of all tables, as the engine itself has them."""
    base, _, query = url.partition("?")
    if url.startswith("sqlite"):
        with sqlite3.connect(base.removeprefix("sqlite:///")) as lite:
            names = {name for (name,) in lite.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        lite.close()
        return names
    if url.startswith("postgres"):
        with psycopg.connect(base) as connection:
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s", parse_qs(query)["schema"]
            )
            return {name for (name,) in found.fetchall()}
    return set()


async def test_it_is_data_in_every_string_of_every_call(store: EventStore, url: str) -> None:
    tables = tables_in(url)
    (witness,) = await store.append("witness-1", [NewEvent("Witnessed", {"kept": True})], expected_version=0)
    for text in INJECTIONS:
        recorded = await write_everywhere(store, text)
        await check_reading(store, text, recorded)
        await check_consuming(store, text, recorded)
        assert tables_in(url) == tables
    log = await all_of(store.read_all())
    assert log[0] == witness
    assert len(log) == 1 + 3 * len(INJECTIONS), "nothing was removed, and nothing came that was not appended"
    assert len(await all_of(store.list_streams())) == 1 + 2 * len(INJECTIONS)


async def write_everywhere(store: EventStore, text: str) -> list[RecordedEvent]:
    event = NewEvent(text, {text: text, "list": [text]}, {text: text})
    recorded = await store.append(text, [event], expected_version=0)
    await store.append(text, [event], expected_version=0)
    await store.append_many([StreamWrite(f"many-{text}", [NewEvent(text, {text: text})], ANY)])
    async with store.transaction() as tx:
        recorded += await tx.append(text, [NewEvent(text, {})], expected_version=1)
        await tx.save_checkpoint(f"tx {text}", 1, expected=0)
    await store.save_snapshot(text, 2, {text: text})
    await store.save_checkpoint(text, 3, expected=0)
    return recorded


async def check_reading(store: EventStore, text: str, recorded: list[RecordedEvent]) -> None:
    assert await all_of(store.read_stream(text)) == recorded
    assert recorded[0].data == {text: text, "list": [text]}
    assert recorded[0].metadata == {text: text}
    assert await store.stream_version(text) == 2
    snapshot = await store.load_snapshot(text)
    assert snapshot is not None
    assert snapshot.data == {text: text}
    assert (await store.load_checkpoint(text), await store.load_checkpoint(f"tx {text}")) == (3, 1)
    filters = [
        Filter(stream_types=[recorded[0].stream_type], event_types=[text], stream_id_prefix=text),
        Filter(stream_types=[recorded[0].stream_type, text], event_types=[text, "';"]),
    ]
    for chosen in filters:
        assert await all_of(store.read_all(filter=chosen)) == recorded
        assert await all_of(store.read_all(filter=chosen, backward=True)) == recorded[::-1]
        assert await anext(store.subscribe(filter=chosen)) == recorded[0]
    assert await anext(store.subscribe_stream(text, from_version=2)) == recorded[1]
    assert [info.stream_id for info in await all_of(store.list_streams(prefix=text))] == [text]
    of_type = await all_of(store.list_streams(stream_type=recorded[0].stream_type, prefix=text))
    assert [info.stream_id for info in of_type] == [text]
    assert text not in [info.stream_id for info in await all_of(store.list_streams(after=text))]


async def check_consuming(store: EventStore, text: str, recorded: list[RecordedEvent]) -> None:
    handled = []

    async def handle(event: RecordedEvent) -> None:
        handled.append(event)

    consumer = store.consumer(text, handle, filter=Filter(event_types=[text], stream_id_prefix=text))
    await consumer.run_until_caught_up()
    assert handled == recorded
    assert (await consumer.status()).name == text
    assert text in [status.name async for status in store.consumers()]
    await consumer.reset()


@pytest.mark.parametrize("text", REFUSED)
async def test_it_is_refused_where_it_has_what_no_name_has(store: EventStore, text: str) -> None:
    for call in (
        lambda: store.append(text, [NewEvent("Tried", {})], expected_version=ANY),
        lambda: all_of(store.read_stream(text)),
        lambda: store.stream_info(text),
        lambda: all_of(store.list_streams(prefix=text)),
        lambda: all_of(store.list_streams(after=text)),
        lambda: store.load_checkpoint(text),
        lambda: store.load_snapshot(text),
        lambda: store.delete_stream(text, expected_version=ANY),
    ):
        with pytest.raises(InvalidArgument):
            await call()
    with pytest.raises(EventStoreError):
        Filter(stream_id_prefix=text)
    assert await all_of(store.read_all()) == []


async def test_deleting_and_truncating_touch_the_stream_of_that_name_alone(store: EventStore) -> None:
    for text in INJECTIONS:
        await store.append(text, [NewEvent("Tried", {}), NewEvent("Tried", {})], expected_version=0)
    for number, text in enumerate(INJECTIONS):
        assert await store.truncate_stream(text, 2) == 1
        await store.delete_stream(text, expected_version=2, erase=True)
        assert len(await all_of(store.read_all())) == 2 * (len(INJECTIONS) - number - 1)


# --- Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ['"; DROP SCHEMA public CASCADE; --', "'; SELECT 1; --", "%(schema)s", "$1", "{}"])
async def test_the_name_of_a_schema_is_data(postgres_server: str, name: str) -> None:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
        try:
            async with open_store(postgres_server, schema=name) as store:
                (recorded,) = await store.append("order-1", [NewEvent("Tried", {})], expected_version=0)
                assert await anext(store.subscribe()) == recorded
            assert set(connection.execute("SELECT nspname FROM pg_namespace")) == {*schemas, (name,)}
        finally:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


@pytest.mark.parametrize("form", ["in the URL", "as a keyword"])
async def test_an_option_of_the_driver_brings_in_no_other_one(postgres_url: str, form: str) -> None:
    name = "x' host='192.0.2.1' password='\\"
    keywords: dict[str, Any] = {"application_name": name} if form == "as a keyword" else {}
    url = postgres_url if keywords else f"{postgres_url}&application_name={quote(name)}"
    async with open_store(url, **keywords) as store, store.transaction() as tx:
        cursor = await tx.connection.execute("SHOW application_name")
        assert await cursor.fetchall() == [(name,)]


async def test_the_name_of_a_file_brings_in_no_option_of_sqlite(tmp_path: Path) -> None:
    name = "a.db?mode=memory&immutable=1#'; DROP TABLE events; --"
    async with open_store(f"sqlite:///{tmp_path}/{quote(name)}") as store:
        await store.append("order-1", [NewEvent("Tried", {})], expected_version=0)
    assert file_names(tmp_path) == [name]

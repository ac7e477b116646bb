"""Stores that were damaged by SQL, past every guard: `verify` finds each damage, says where it is, and says it once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import LiteralString
from urllib.parse import parse_qs

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import ANY, NO_STREAM, EventStore, ProblemKind, open_store
from tests.damaging import Found, fill, found_in
from tests.postgres.driving import append_in_flight, event

pytestmark = pytest.mark.asyncio

DAMAGES: dict[str, tuple[LiteralString, list[Found]]] = {
    "an event in the middle of a stream is gone": (
        "DELETE FROM events WHERE global_position = 3",
        [Found(ProblemKind.MISSING, "order-1", 3)],
    ),
    "an event has another version": (
        "UPDATE events SET version = 9 WHERE global_position = 10",
        [Found(ProblemKind.MISSING, "order-2", 5)],
    ),
    "two events have changed places": (
        """
        UPDATE events SET global_position = -2 WHERE global_position = 2;
        UPDATE events SET global_position = 2 WHERE global_position = 3;
        UPDATE events SET global_position = 3 WHERE global_position = -2;
        """,
        [Found(ProblemKind.ORDER, "order-1", 3, 2)],
    ),
    "an event is older than the one before it": (
        "UPDATE events SET created_at = '2020-01-01' WHERE global_position = 3",
        [Found(ProblemKind.CLOCK, "order-1", 3, 3)],
    ),
    "an event has the type of another stream": (
        "UPDATE events SET stream_type = 'cart' WHERE global_position = 3",
        [Found(ProblemKind.STREAM_TYPE, "order-1", 3, 3)],
    ),
    "data is an array, and metadata null": (
        "UPDATE events SET data = '[1]', metadata = 'null' WHERE global_position = 3",
        [Found(ProblemKind.PAYLOAD, "order-1", 3, 3)] * 2,
    ),
    "two events have one id": (
        """
        ALTER TABLE events DROP CONSTRAINT events_event_id_key;
        UPDATE events SET event_id = (SELECT event_id FROM events WHERE global_position = 2) WHERE global_position = 7;
        """,
        [Found(ProblemKind.EVENT_ID, "order-2", 2, 7)],
    ),
    "two events have one version": (
        """
        ALTER TABLE events DROP CONSTRAINT events_stream_id_version_key;
        UPDATE events SET version = 4 WHERE global_position = 10;
        """,
        [Found(ProblemKind.DUPLICATE_VERSION, "order-2", 4, 10)],
    ),
    "what was known of a truncated stream is lost": (
        "DELETE FROM stream_lifecycle WHERE stream_id = 'order-3'",
        [Found(ProblemKind.MISSING, "order-3", 1)],
    ),
    "a tombstone is lost": (
        "DELETE FROM stream_lifecycle WHERE stream_id = 'gone-1'",
        [Found(ProblemKind.MISSING, "gone-1", 3)],
    ),
    "a deleted stream was appended to": (
        "UPDATE events SET event_type = 'Counted' WHERE event_type = ''",
        [
            Found(ProblemKind.PAYLOAD, "gone-1", 3, 18),
            Found(ProblemKind.PAYLOAD, "gone-1", 3, 18),
            Found(ProblemKind.STREAM, "gone-1", 3, 18),
        ],
    ),
    "an event is left over that was truncated": (
        "UPDATE stream_lifecycle SET first_version = 4 WHERE stream_id = 'order-3'",
        [Found(ProblemKind.LEFT_OVER, "order-3", 3, 13)],
    ),
    "a snapshot is ahead of its stream": (
        "UPDATE snapshots SET version = 8 WHERE stream_id = 'order-1'",
        [Found(ProblemKind.SNAPSHOT, "order-1", 8)],
    ),
    "a snapshot is no object": (
        "UPDATE snapshots SET data = '7' WHERE stream_id = 'order-1'",
        [Found(ProblemKind.PAYLOAD, "order-1", 3)],
    ),
    "a deleted stream has a snapshot": (
        "UPDATE snapshots SET stream_id = 'gone-1', version = 1 WHERE stream_id = 'order-1'",
        [Found(ProblemKind.SNAPSHOT, "gone-1", 1)],
    ),
    "a checkpoint is beyond the head": (
        "UPDATE subscription_checkpoints SET position = 999",
        [Found(ProblemKind.CHECKPOINT, global_position=999, name="reader")],
    ),
    "a consumer is beyond the head": (
        "UPDATE consumer_entries SET data = data || '{\"position\": 999}' WHERE key LIKE 'partition/%'",
        [Found(ProblemKind.CONSUMER, global_position=999, name="worker")],
    ),
}


@pytest_asyncio.fixture
async def connection(postgres_url: str, store: EventStore) -> AsyncIterator[psycopg.AsyncConnection]:
    """A superuser's connection for which no trigger fires, on a store that was filled."""
    await fill(store)
    server, _, query = postgres_url.partition("?")
    schema = sql.Identifier(parse_qs(query)["schema"][0])
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        await connection.execute(sql.SQL("SET search_path = {}").format(schema))
        await connection.execute("SET session_replication_role = replica")
        yield connection


async def test_a_sound_store_is_sound(store: EventStore) -> None:
    await fill(store)
    verification = await store.verify()
    assert verification.is_sound, str(verification)
    counts = (verification.events, verification.streams, verification.snapshots, verification.checkpoints)
    assert counts == (13, 5, 2, 1)


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_is_damaged_is_found_where_it_is(
    store: EventStore, connection: psycopg.AsyncConnection, name: str
) -> None:
    statements, expected = DAMAGES[name]
    for statement in statements.split(";"):
        await connection.execute(statement)
    assert await found_in(store) == expected


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        ("events_stream_id_version_key", ProblemKind.NOT_IN_STREAM),
        ("events_pkey", ProblemKind.NOT_IN_LOG),
    ],
)
async def test_an_event_that_an_index_has_lost_is_found(
    postgres_url: str, connection: psycopg.AsyncConnection, index: LiteralString, kind: ProblemKind
) -> None:
    for statement in (
        "CREATE TEMPORARY TABLE lost AS SELECT * FROM events WHERE global_position IN (1, 8)",
        "DELETE FROM events WHERE global_position IN (1, 8)",
        f"UPDATE pg_index SET indisready = false WHERE indexrelid = '{index}'::regclass",
        "INSERT INTO events SELECT * FROM lost",
        f"UPDATE pg_index SET indisready = true WHERE indexrelid = '{index}'::regclass",
    ):
        await connection.execute(statement)
    # A table so small would be read without an index.
    async with open_store(postgres_url, options="-c enable_seqscan=off -c enable_bitmapscan=off") as store:
        assert await found_in(store) == [Found(kind, "order-1", 1, 1), Found(kind, "order-2", 3, 8)]


async def test_an_append_in_flight_is_no_damage(store: EventStore, postgres_url: str) -> None:
    await fill(store)
    async with append_in_flight(store, postgres_url, "order-2") as slow:
        await store.append("order-1", [event()], expected_version=5)
        await store.append("new-1", [event()], expected_version=NO_STREAM)
        await store.truncate_stream("order-1", 4)
        assert await found_in(store) == []
        await slow.execute("ROLLBACK")
    assert await found_in(store) == []
    await store.delete_stream("order-1", expected_version=ANY, erase=True)
    assert await found_in(store) == []


async def test_a_bookmark_of_a_reader_that_knows_more_is_no_damage(store: EventStore, postgres_url: str) -> None:
    await fill(store)
    async with append_in_flight(store, postgres_url, "order-2") as slow:
        recorded = await store.append("order-1", [event()], expected_version=5)
        # As if by a reader who had looked before the slow append began.
        await store.save_checkpoint("quick", recorded[-1].global_position, expected=0)
        assert await found_in(store) == []
        await slow.execute("COMMIT")

"""A store in one piece, and one whose log is in partitions of ten positions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import EventStore, open_store
from eventstore_postgres import PostgresBackend
from tests.postgres.driving import connected
from tests.postgres.partitioned.driving import SIZE
from tests.postgres.restoring.driving import backend_of


@pytest.fixture(params=["in one piece", "in partitions"])
def url(request: pytest.FixtureRequest, postgres_url: str) -> str:
    return postgres_url if request.param == "in one piece" else f"{postgres_url}&partition_size={SIZE}"


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with open_store(url) as store:
        yield store


@pytest.fixture
def backend(store: EventStore) -> PostgresBackend:
    return backend_of(store)


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A superuser's connection whose search path is the store's schema."""
    async with connected(postgres_url) as connection:
        schema = sql.Identifier(postgres_url.rpartition("=")[2])
        await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        yield connection

"""Stores with their log in partitions of ten positions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import EventStore, open_store
from tests.postgres.driving import connected
from tests.postgres.partitioned.driving import SIZE


@pytest.fixture
def url(postgres_url: str) -> str:
    return f"{postgres_url}&partition_size={SIZE}"


@pytest.fixture
def schema(postgres_url: str) -> sql.Identifier:
    return sql.Identifier(parse_qs(postgres_url.partition("?")[2])["schema"][0])


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with open_store(url) as store:
        yield store


@pytest_asyncio.fixture
async def connection(url: str, schema: sql.Identifier) -> AsyncIterator[psycopg.AsyncConnection]:
    """A superuser's connection whose search path is the store's schema."""
    async with connected(url) as connection:
        await connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        yield connection


@pytest_asyncio.fixture
async def role(connection: psycopg.AsyncConnection) -> AsyncIterator[str]:
    """A role that owns nothing."""
    await connection.execute("CREATE ROLE appender LOGIN")
    yield "appender"
    await connection.execute("DROP OWNED BY appender CASCADE; DROP ROLE appender")

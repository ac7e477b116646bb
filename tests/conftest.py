"""Fixtures for all tests: a real Postgres, one server for the run, one schema for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from eventstore import EventStore, open_store
from tests.engines import ENGINES, url_for
from tests.postgres_server import open_test_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a database on the run's own server."""
    with open_test_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A store URL with a schema of its own."""
    schema = f"test {next(_numbers)}"
    yield f"{postgres_server}?schema={schema}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, on each engine in turn."""
    return url_for(request)


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    """The store at that URL."""
    async with open_store(url) as store:
        yield store

"""Servers for the tests to hurt: with the durability that they have by default."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.postgres_server import PostgresServer, default_binaries
from tests.proxy import Proxy

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def durable_server() -> Iterator[PostgresServer]:
    """A server that tests kill, stop and freeze, and leave running."""
    with PostgresServer(default_binaries(), fsync=True) as server:
        yield server


@pytest.fixture
def durable_url(durable_server: PostgresServer) -> str:
    """A store of its own on that server."""
    return f"{durable_server.url()}?schema=faults{next(_numbers)}"


@pytest_asyncio.fixture
async def proxy(durable_server: PostgresServer) -> AsyncIterator[Proxy]:
    async with Proxy(durable_server.port) as proxy:
        yield proxy

"""Postgres, with every hook of the suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import psycopg
import pytest
import pytest_asyncio

from eventstore import NO_STREAM, EventStore, NewEvent, open_store
from eventstore_conformance import StoreConformance
from eventstore_conformance.hooks import HoldCommit, Line, Server
from tests.postgres_server import PostgresServer, default_binaries
from tests.proxy import Proxy


@pytest.fixture(scope="class")
def durable_server() -> Iterator[PostgresServer]:
    """A server for the tests to kill, with its default durability."""
    with PostgresServer(default_binaries(), fsync=True) as server:
        yield server


class PostgresHooks:
    """The hooks of the suite, whatever the layout of the store."""

    namespace: str

    @pytest.fixture
    def hold_commit(self, store: EventStore, postgres_server: str) -> HoldCommit:
        @asynccontextmanager
        async def hold(stream_id: str, events: Sequence[NewEvent]) -> AsyncIterator[None]:
            async with await psycopg.AsyncConnection.connect(postgres_server) as connection, connection.transaction():
                await store.bind(connection).append(stream_id, events, expected_version=NO_STREAM)
                yield

        return hold

    @pytest_asyncio.fixture
    async def cut_connection(self, store_url: str) -> AsyncIterator[Line]:
        port = urlsplit(store_url).port
        assert port is not None
        async with Proxy(port) as proxy:
            url = store_url.replace(f":{port}/", f":{proxy.port}/")
            yield Line(partial(open_store, url, pool_max=1), proxy.lose_next_requests, proxy.lose_next_replies)

    @pytest.fixture
    def kill_server(self, durable_server: PostgresServer) -> Server:
        async def kill_and_start() -> None:
            await asyncio.to_thread(durable_server.kill)
            await asyncio.to_thread(durable_server.start)

        return Server(partial(open_store, f"{durable_server.url()}?schema={self.namespace}"), kill_and_start)


class TestPostgres(PostgresHooks, StoreConformance):
    @pytest_asyncio.fixture
    async def store_url(self, postgres_url: str) -> AsyncIterator[str]:
        yield postgres_url

"""The store that most tests of the Postgres backend need."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from eventstore import EventStore, open_store


@pytest_asyncio.fixture
async def store(postgres_url: str) -> AsyncIterator[EventStore]:
    async with open_store(postgres_url) as store:
        yield store

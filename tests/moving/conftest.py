"""An empty store, on each engine in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from eventstore import EventStore, open_store
from tests.engines import ENGINES, url_for


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    return url_for(request)


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with open_store(url) as store:
        yield store

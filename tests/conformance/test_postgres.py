from collections.abc import AsyncIterator

import pytest_asyncio

from eventstore_conformance import StoreConformance


class TestPostgres(StoreConformance):
    @pytest_asyncio.fixture
    async def store_url(self, postgres_url: str) -> AsyncIterator[str]:
        yield postgres_url

"""The suite on the store of `--store-url`, for those without a test file: `pytest --pyargs eventstore_conformance`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from eventstore_conformance import StoreConformance
from eventstore_conformance.fresh_stores import fresh_store


class TestStore(StoreConformance):
    """The suite on one URL; the plugin has checked that it leads to fresh stores."""

    @pytest_asyncio.fixture(loop_scope="function")
    async def store_url(self, request: pytest.FixtureRequest) -> AsyncIterator[str]:
        """Return the URL of a store for one test."""
        options = request.config
        url = str(options.getoption("store_url"))
        async with fresh_store(url, self.namespace, keep=bool(options.getoption("keep_stores"))) as own:
            yield own

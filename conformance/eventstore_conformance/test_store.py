"""The suite on the store of `--store-url`, for those without a test file: `pytest --pyargs eventstore_conformance`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from eventstore_conformance import StoreConformance
from eventstore_conformance.fresh_stores import remove_store, url_of


class TestStore(StoreConformance):
    """The suite on one URL; the plugin has checked that it leads to fresh stores."""

    @pytest_asyncio.fixture(loop_scope="function")
    async def store_url(self, request: pytest.FixtureRequest) -> AsyncIterator[str]:
        """Return the URL of a store for one test, which is removed afterwards where its backend knows how to."""
        template = str(request.config.getoption("store_url"))
        url = url_of(template, self.namespace)
        yield url
        if not request.config.getoption("keep_stores"):
            await remove_store(template, url)

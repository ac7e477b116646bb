"""Postgres with a partitioned log, in partitions so small that most tests go from one into the next."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conformance.test_postgres import TestPostgres, durable_server

__all__ = ["durable_server"]


class TestPartitionedPostgres(TestPostgres):
    @pytest_asyncio.fixture
    async def store_url(self, postgres_url: str) -> AsyncIterator[str]:
        yield f"{postgres_url}&partition_size=10"


del TestPostgres

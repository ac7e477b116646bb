import pytest

from eventstore_conformance import StoreConformance


class TestSqliteInMemory(StoreConformance):
    @pytest.fixture
    def store_url(self) -> str:
        return "sqlite://"

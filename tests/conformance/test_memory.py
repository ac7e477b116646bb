import pytest

from eventstore_conformance import StoreConformance


class TestMemory(StoreConformance):
    @pytest.fixture
    def store_url(self) -> str:
        return "memory://"

from pathlib import Path

import pytest

from eventstore_conformance import StoreConformance


class TestSqlite(StoreConformance):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'events.db'}"

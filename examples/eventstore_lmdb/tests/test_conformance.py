from pathlib import Path

import pytest

from eventstore_conformance import StoreConformance


class TestLmdb(StoreConformance):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"lmdb:///{tmp_path / 'events'}"

"""A disk that is full in the middle of an append leaves nothing half-written, and room is all that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.filling import WAYS
from tests.sqlite.making import run_module

pytestmark = pytest.mark.asyncio

WHOLE = "whole, before and after\n"


@pytest.mark.parametrize("way", WAYS)
async def test_a_store_on_a_full_disk_keeps_what_it_acknowledged_and_nothing_else(tmp_path: Path, way: str) -> None:
    assert await run_module("tests.faults.filling", str(tmp_path), way) == WHOLE


async def test_a_limit_on_the_size_of_files_is_as_good_as_a_full_disk(tmp_path: Path) -> None:
    assert await run_module("tests.faults.filling", str(tmp_path), "in groups", "limited") == WHOLE

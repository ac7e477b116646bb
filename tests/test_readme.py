"""The README says what is."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventstore
from eventstore import NO_STREAM, Filter, NewEvent

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_example_prints_what_the_readme_shows() -> None:
    code, output = re.findall(r"```python\n(.*?)```\n```\n(.*?)```", README, flags=re.DOTALL)[0]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == output


def test_the_projection_of_the_readme_adds_up(postgres_url: str) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "def project" in block)
    assert len(code.strip().splitlines()) <= 10 + 1, "ten lines, and one between"
    readme: dict[str, Any] = {"eventstore": eventstore, "Filter": Filter}
    exec(code, readme)

    async def run() -> list[tuple[str, int]]:
        async with eventstore.open_store(postgres_url) as store:
            async with store.transaction() as tx:
                await tx.connection.execute("CREATE TABLE totals (customer TEXT PRIMARY KEY, orders BIGINT)")
            for number in range(10):
                placed = NewEvent("OrderPlaced", {"customer": "Ada" if number % 3 else "Bob"})
                await store.append(f"order-{number}", [placed], expected_version=NO_STREAM)
            consumer = asyncio.create_task(readme["main"](postgres_url))
            await store.consumer("totals", readme["project"], partitions=4).wait_until(await store.head())
            consumer.cancel()
            await asyncio.wait([consumer])
            async with store.transaction() as tx:
                cursor = await tx.connection.execute("SELECT customer, orders FROM totals ORDER BY customer")
                rows: list[tuple[str, int]] = await cursor.fetchall()
                await tx.connection.execute("DROP TABLE totals")
            return rows

    assert asyncio.run(run()) == [("Ada", 6), ("Bob", 4)]


@pytest.mark.parametrize("document", ["README.md", "docs/guarantees.md"])
def test_every_guarantee_names_a_test_that_is_there(document: str) -> None:
    page = ROOT / document
    links = re.findall(r"\[`(test_\w+)`\]\(([\w/.]+)\)", page.read_text("utf-8"))
    assert len(links) > 10
    for name, file in links:
        assert f"def {name}(" in (page.parent / file).read_text("utf-8"), f"{name} in {file}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target

"""The README says what is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_example_prints_what_the_readme_shows() -> None:
    code, output = re.findall(r"```python\n(.*?)```\n```\n(.*?)```", README, flags=re.DOTALL)[0]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == output


def test_every_guarantee_names_a_test_that_is_there() -> None:
    links = re.findall(r"\[`(test_\w+)`\]\(([\w/.]+)\)", README)
    assert len(links) > 10
    for name, file in links:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{name} in {file}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target

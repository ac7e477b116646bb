"""Packages of third parties, found as if `pip install -e` had installed them; without a network, for a while only."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path


def installed(project: Path, into: Path) -> dict[str, str]:
    """Return the variables of processes in which a project is installed, with the entry points that it declares.

    An editable install puts a project's folder on the path, and beside it what its pyproject.toml says of it: so does
    this, in the folder `into`. The commands of the running environment are on the PATH.
    """
    declared = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = declared["name"], declared["version"]
    information = into / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, entries in declared["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    commands = Path(sys.executable).parent
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(project), str(into)]),
        "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
    }

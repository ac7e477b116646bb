"""The peer Emmett, in Node.js: its store for Postgres, with a pool as its users have it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.events import TEXT
from benchmarks.measuring import NotThere, Sample, Turn

PACKAGE: Final = "@event-driven-io/emmett-postgresql"
PROGRAM: Final = Path(__file__).with_name("emmett.mjs")


@cache
def _folder() -> Path:
    """Return the folder with the program and its packages, fetched once into the temporary folder."""
    folder = Path(tempfile.gettempdir()) / "eventstore-bench-emmett"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotThere("Emmett needs Node.js and npm")
    folder.mkdir(exist_ok=True)
    if not (folder / "node_modules" / PACKAGE).exists():
        # A package.json of its own, so that npm installs here and nowhere above.
        (folder / "package.json").write_text("{}")
        installed = subprocess.run([npm, "install", "--silent", PACKAGE], cwd=folder, capture_output=True, check=False)
        if installed.returncode:
            raise NotThere(f"npm could not fetch {PACKAGE}")
    shutil.copy(PROGRAM, folder)
    return folder


@asynccontextmanager
async def appends(url: str, *, tasks: int, seconds: float) -> AsyncIterator[Turn]:
    """Single-event appends to new streams, so many at a time in one process."""
    command = ["node", PROGRAM.name, url, str(tasks), str(seconds), TEXT.decode()]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_folder(), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=2**24
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    try:
        if await stdout.readline() != b"ready\n":
            raise NotThere("Emmett did not start")

        async def turn() -> Sample:
            stdin.write(b"go\n")
            said = msgspec.json.decode(await stdout.readline())
            return Sample(len(said["latencies"]), said["seconds"], said["latencies"])

        yield turn
    finally:
        stdin.close()
        await process.wait()

"""The peer message-db: the SQL of its npm package, which brings a stored function for each call."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from psycopg import AsyncConnection

from benchmarks.events import TEXT
from benchmarks.measuring import NotThere, Turn, repeat
from tests.postgres_server import PostgresServer

PACKAGE: Final = "@eventide/message-db"
WRITE: Final = "SELECT write_message(%s, %s, %s, %s::jsonb, NULL, %s)"
READ_CATEGORY: Final = "SELECT * FROM get_category_messages(%s, %s, 500)"


@cache
def _scripts() -> Path:
    """Return the folder with its scripts, fetched once into the temporary folder."""
    folder = Path(tempfile.gettempdir()) / "eventstore-bench-message-db"
    if not (folder / "package" / "database" / "install.sh").exists():
        npm = shutil.which("npm")
        if npm is None or shutil.which("psql") is None:
            raise NotThere("message-db needs npm and psql")
        folder.mkdir(exist_ok=True)
        packed = subprocess.run(
            [npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, check=False
        )
        archives = list(folder.glob("*.tgz"))
        if packed.returncode or not archives:
            raise NotThere(f"npm could not fetch {PACKAGE}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package" / "database"


@asynccontextmanager
async def database(server: PostgresServer) -> AsyncIterator[str]:
    """Install it as its own script does, and yield the URL of its database; it is dropped afterwards."""
    parts = urlsplit(server.url())
    name = f"message_store_{uuid4().hex[:8]}"
    address = {"PGHOST": parts.hostname or "", "PGPORT": str(parts.port), "PGUSER": parts.username or ""}
    script = ["bash", str(_scripts() / "install.sh")]
    done = subprocess.run(
        script, env=os.environ | address | {"DATABASE_NAME": name}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotThere(f"message-db could not be installed: {done.stderr.strip().splitlines()[-1]}")
    options = "options=-csearch_path%3Dmessage_store%2Cpublic"
    try:
        yield urlunsplit(parts._replace(path=f"/{name}", query=options))
    finally:
        async with await AsyncConnection.connect(server.url(), autocommit=True) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@asynccontextmanager
async def appends(
    server: PostgresServer, *, connections: int, seconds: float, one_category: bool = False
) -> AsyncIterator[Turn]:
    """Single-event appends to new streams: in one category, whose lock is one, or in a category each."""
    text = TEXT.decode()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(server))
        open_ones = [
            await stack.enter_async_context(await AsyncConnection.connect(url, autocommit=True, prepare_threshold=0))
            for _ in range(connections)
        ]

        async def append(task: int, number: int) -> None:
            category = "order" if one_category else f"order{task}"
            values = (str(uuid4()), f"{category}-{uuid4()}", "OrderPlaced", text, -1)
            await open_ones[task].execute(WRITE, values)

        yield lambda: repeat(seconds, connections, append)

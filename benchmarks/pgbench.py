"""`pgbench`: what a C client reaches with bare prepared INSERTs."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.events import TEXT
from benchmarks.floors import TABLE, connect
from benchmarks.measuring import NotThere, Sample, Turn
from tests.postgres_server import PostgresServer


@asynccontextmanager
async def inserts(server: PostgresServer, url: str, *, clients: int, seconds: float) -> AsyncIterator[Turn]:
    """One INSERT a row, each committed, from so many clients on two threads."""
    program = server.binaries.bin / "pgbench"
    if not program.exists():
        raise NotThere("pgbench is not among the server's programs")
    async with await connect(url) as connection:
        await connection.execute(TABLE)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "insert.sql")
        insert = "INSERT INTO floor (stream_id, version, event_type, data) "
        script.write_text(f"{insert}VALUES (gen_random_uuid()::text, 1, 'OrderPlaced', '{_quoted(TEXT)}');\n")
        parts = urlsplit(url)
        # It counts whole seconds.
        length = max(1, round(seconds))
        command = [
            *(str(program), "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=2"),
            *(f"--time={length}", f"--file={script}", f"--host={parts.hostname}", f"--port={parts.port}"),
            *(f"--username={parts.username}", parts.path.strip("/")),
        ]

        async def turn() -> Sample:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            output, errors = await process.communicate()
            found = re.search(rb"^tps = ([0-9.]+)", output, flags=re.MULTILINE)
            if found is None:
                raise RuntimeError(f"pgbench failed: {errors.decode()}")
            return Sample(round(float(found[1]) * length), length)

        yield turn


def _quoted(text: bytes) -> str:
    # In a script of pgbench a colon before a name or a number begins a variable.
    return text.decode().replace("'", "''").replace(":", ": ")

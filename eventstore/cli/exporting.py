"""`eventstore export`: a store as a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from eventstore.cli.running import Failed, progress_shown, run, store_that_is_there


@click.command(short_help="Write all that a store has to a file.")
@click.argument("url")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
def export(url: str, file: Path | None, overwrite: bool) -> None:
    """Write all that the store at URL has to FILE, or to standard output, as lines of JSON.

    \b
    eventstore export sqlite:///shop.db shop.jsonl
    eventstore export postgresql://host/db?schema=shop | gzip > shop.jsonl.gz

    The store is only read, and may be in use. FILE appears when it is complete. `eventstore import` brings it into
    another store, on whatever engine. Passwords are better kept out of URLs: the driver's own ways, as PGPASSWORD or
    ~/.pgpass, work as well.
    """
    if file is None or str(file) == "-":
        lines = run(_export(url, sys.stdout.buffer))
    else:
        if file.exists() and not overwrite:
            raise Failed(f"{file} is there already: name another file, or pass --overwrite")
        with _complete_or_absent(file) as output:
            lines = run(_export(url, output))
    click.echo(f"exported {lines:,} lines", err=True)


async def _export(url: str, output: BinaryIO) -> int:
    lines = 0
    async with store_that_is_there(url) as store:
        with progress_shown() as progress:
            async for line in store.export(progress=progress):
                output.write(line)
                lines += 1
    output.flush()
    return lines


@contextmanager
def _complete_or_absent(file: Path) -> Iterator[BinaryIO]:
    """Open a file beside the one wanted, which takes its place when all was written."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        part.replace(file)
    except OSError as error:
        raise Failed(str(error)) from error
    finally:
        part.unlink(missing_ok=True)

"""`eventstore export`: a store as a file."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

import click

from eventstore.cli.failures import Failed, told_in_words
from eventstore.cli.running import check_order, progress_shown, store_that_is_there
from eventstore.moving.records import Header, decode_line
from eventstore.wording import counted

_LONGEST_HEADER = 10_000


@click.command(short_help="Write all that a store has to a file.")
@click.argument("url")
@click.argument("file", required=False)
@click.option("--overwrite", is_flag=True, help="Replace FILE, if it is an export.")
def export(url: str, file: str | None, overwrite: bool) -> None:
    """Write all that the store at URL has to FILE, or to standard output, as lines of JSON.

    \b
    eventstore export sqlite:///shop.db shop.jsonl
    eventstore export 'postgresql://host/db?schema=shop' | gzip > shop.jsonl.gz

    The store is only read, and may be in use. FILE appears when it is complete; a new one can be read by its owner
    alone. `eventstore import` brings it into another store, on whatever engine. Passwords are better kept out of URLs:
    the driver's own ways, as PGPASSWORD or ~/.pgpass, work as well.
    """
    check_order(url, file)
    with told_in_words(), _output(file, overwrite=overwrite) as output:
        lines = asyncio.run(_export(url, output))
    click.echo(f"exported {counted(lines, 'line')}", err=True)


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
def _output(name: str | None, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open what is written to: standard output, a device or pipe, or a file that appears when all was written."""
    if name in (None, "-", "/dev/stdout"):
        if sys.stdout is None:
            raise Failed("standard output is closed: name a file")
        yield sys.stdout.buffer
    elif Path(name).exists() and not Path(name).is_file():
        with Path(name).open("wb") as output:
            yield output
    else:
        # What a link leads to is replaced, not the link.
        with _complete_or_absent(Path(os.path.realpath(name)), overwrite=overwrite) as output:
            yield output


@contextmanager
def _complete_or_absent(file: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    _check_may_be_replaced(file, overwrite=overwrite)
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else None
    try:
        descriptor, part = mkstemp(prefix=".eventstore-", suffix=".part", dir=file.parent)
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        # It may have appeared meanwhile.
        _check_may_be_replaced(file, overwrite=overwrite)
        if mode is not None:
            Path(part).chmod(mode)
        Path(part).replace(file)
    finally:
        with suppress(OSError):
            Path(part).unlink()


def _check_may_be_replaced(file: Path, *, overwrite: bool) -> None:
    if file.exists():
        if not overwrite:
            raise Failed(f"{file} is there already: name another file, or pass --overwrite")
        if not _is_export(file):
            raise Failed(f"{file} is no export, and is not replaced: name another file")


def _is_export(file: Path) -> bool:
    with file.open("rb") as opened, suppress(ValueError, RecursionError):
        return isinstance(decode_line(opened.readline(_LONGEST_HEADER)), Header)
    return False

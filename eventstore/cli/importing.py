"""`eventstore import`: a file that `eventstore export` wrote, into a store."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import click

from eventstore import Imported, open_store
from eventstore.cli.running import lasting, progress_shown, run
from eventstore.events import DEFAULT_MAX_EVENT_SIZE
from eventstore.moving.checking import Checked, check_file
from eventstore.moving.importing import import_file
from eventstore.progress import ProgressCallback
from eventstore.wording import counted


@click.command("import", short_help="Bring an exported store into another one.")
@click.argument("url")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--check", is_flag=True, help="Only check that FILE is sound; the store is not opened.")
@click.option("--without-consumers", is_flag=True, help="Leave out checkpoints, and what consumers keep.")
@click.option(
    "--max-event-size",
    type=click.IntRange(min=2),
    default=DEFAULT_MAX_EVENT_SIZE,
    show_default=True,
    metavar="BYTES",
    help="The largest payload that is taken, as JSON text.",
)
def import_(url: str, file: Path | None, check: bool, without_consumers: bool, max_event_size: int) -> None:
    """Bring what `eventstore export` wrote to FILE, or standard input, into the store at URL.

    \b
    eventstore import postgresql://host/db?schema=shop shop.jsonl
    gunzip -c shop.jsonl.gz | eventstore import sqlite:///shop.db

    Events keep their ids, versions, times and order. FILE is checked whole before anything is written. Run it again
    after an interruption: it goes on where it stopped. Nobody should write to the same streams meanwhile.
    """
    with _read_twice(file) as source, progress_shown() as progress:
        checked = run(check_file(source, max_event_size, progress))
        imported = None
        if not check:
            imported = run(_import(url, source, checked, max_event_size, progress, consumers=not without_consumers))
    if imported is None:
        click.echo(f"sound: {counted(checked.events, 'event')} up to position {checked.head}")
    else:
        click.echo(str(imported))


async def _import(
    url: str, source: BinaryIO, checked: Checked, max_event_size: int, progress: ProgressCallback, *, consumers: bool
) -> Imported:
    async with lasting(open_store(url, max_event_size=max_event_size)) as store:
        return await import_file(store, source, checked, consumers=consumers, progress=progress)


@contextmanager
def _read_twice(file: Path | None) -> Iterator[BinaryIO]:
    """Open a file; what comes from a pipe is kept in a temporary one, since it is read twice."""
    if file is not None and str(file) != "-":
        with file.open("rb") as source:
            yield source
        return
    with TemporaryFile() as source:
        shutil.copyfileobj(sys.stdin.buffer, source)
        yield source

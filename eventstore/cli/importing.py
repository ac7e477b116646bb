"""`eventstore import`: a file that `eventstore export` wrote, into a store."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import click

from eventstore import Imported, InvalidExport, open_store
from eventstore.cli.failures import Failed, told_in_words
from eventstore.cli.running import check_order, lasting, progress_shown
from eventstore.events import DEFAULT_MAX_EVENT_SIZE
from eventstore.moving.checking import Checked, check_file
from eventstore.moving.importing import import_file
from eventstore.progress import ProgressCallback
from eventstore.wording import counted


@click.command("import", short_help="Bring an exported store into another one.")
@click.argument("url")
@click.argument("file", required=False)
@click.option("--check", is_flag=True, help="Only check that FILE is sound; URL may be left out.")
@click.option("--without-consumers", is_flag=True, help="Leave out checkpoints, and what consumers keep.")
@click.option(
    "--update",
    is_flag=True,
    help="FILE is a later export of the store that this one was filled from: truncate, erase and delete here what was "
    "there since, and replace checkpoints and consumers.",
)
@click.option(
    "--max-event-size",
    type=click.IntRange(min=2),
    default=DEFAULT_MAX_EVENT_SIZE,
    show_default=True,
    metavar="BYTES",
    help="The largest payload that is taken, as JSON text.",
)
def import_(
    url: str, file: str | None, check: bool, without_consumers: bool, update: bool, max_event_size: int
) -> None:
    """Bring what `eventstore export` wrote to FILE, or standard input, into the store at URL.

    \b
    eventstore import 'postgresql://host/db?schema=shop' shop.jsonl
    gunzip -c shop.jsonl.gz | eventstore import sqlite:///shop.db
    eventstore import --check shop.jsonl

    Events keep their ids, versions, times and order. FILE is checked whole before anything is written. Run it again
    after an interruption: it goes on where it stopped. Nobody should write to the same streams meanwhile.
    """
    if check and file is None and "://" not in url:
        url, file = "", url
    check_order(url, file)
    imported = None
    with told_in_words(), _source(file) as source, progress_shown() as progress:
        checked = asyncio.run(_check(file, source, max_event_size, progress))
        if not check:
            work = _import(
                url, source, checked, max_event_size, progress, consumers=not without_consumers, update=update
            )
            imported = asyncio.run(work)
    if imported is None:
        click.echo(f"sound: {counted(checked.events, 'event')} up to position {checked.head}")
    else:
        click.echo(str(imported))


async def _check(file: str | None, source: BinaryIO, max_event_size: int, progress: ProgressCallback) -> Checked:
    try:
        return await check_file(source, max_event_size, progress)
    except InvalidExport as error:
        larger = " (--max-event-size takes larger payloads)" if "limit" in error.reason else ""
        raise Failed(f"{file or 'standard input'}: {error}{larger}") from error


async def _import(
    url: str,
    source: BinaryIO,
    checked: Checked,
    max_event_size: int,
    progress: ProgressCallback,
    *,
    consumers: bool,
    update: bool,
) -> Imported:
    async with lasting(open_store(url, max_event_size=max_event_size)) as store:
        return await import_file(store, source, checked, consumers=consumers, update=update, progress=progress)


@contextmanager
def _source(name: str | None) -> Iterator[BinaryIO]:
    """Open a file; what comes from a pipe is kept in a temporary one, since it is read twice."""
    if name is None or name == "-":
        if sys.stdin.isatty():
            raise click.UsageError("name FILE, or pass what `eventstore export` writes to standard input")
        with _kept(sys.stdin.buffer) as source:
            yield source
        return
    with Path(name).open("rb") as opened:
        if opened.seekable():
            yield opened
            return
        with _kept(opened) as source:
            yield source


@contextmanager
def _kept(pipe: BinaryIO) -> Iterator[BinaryIO]:
    with TemporaryFile() as source:
        shutil.copyfileobj(pipe, source)
        yield source

"""What the subcommands share: which stores they open, and how they show progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars

from eventstore import Capability, EventStore, Progress, UnknownOption, open_store
from eventstore.progress import ProgressCallback
from eventstore.urls import split_query


def store_that_is_there(url: str) -> EventStore:
    """Return the store at a URL; opening it makes and changes nothing. Refuses one that is gone with its process."""
    try:
        # What stands in the URL is not to be given twice.
        store = open_store(url, migrate=None if "migrate" in split_query(url)[1] else False)
    except UnknownOption as error:
        if error.option != "migrate":
            raise
        # A backend without a schema to migrate.
        store = open_store(url)
    return lasting(store)


def lasting(store: EventStore) -> EventStore:
    """Return a store that keeps what it has; refuse any other with an error."""
    if Capability.DURABLE not in store.capabilities:
        raise click.UsageError("a store in memory begins empty and is gone with this command: name one that is kept")
    return store


def check_order(url: str, file: str | None) -> None:
    """Refuse arguments that were given in the other order, and show none of them: a URL may have a password."""
    if file is not None and "://" in file and "://" not in url:
        raise click.UsageError("the URL of the store comes first, and then FILE")


@contextmanager
def progress_shown() -> Iterator[ProgressCallback]:
    """Show on a terminal how far the work has come; elsewhere nothing."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with ProgressBars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(progress: Progress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bars.add_task(progress.step)
            bars.update(tasks[progress.step], completed=progress.done, total=progress.total)

        yield show

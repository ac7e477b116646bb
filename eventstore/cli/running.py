"""What the subcommands share: which stores they open, how they show progress, and how they say what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars

from eventstore import Capability, EventStore, EventStoreError, Progress, SchemaOutdated, UnknownOption, open_store
from eventstore.progress import ProgressCallback
from eventstore.urls import split_query

T = TypeVar("T")


class Failed(click.ClickException):
    """The command could not do its work; it exits with 2."""

    exit_code = 2


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end; what eventstore or the operating system says of it is told in one line, as `Failed`."""
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        # Whoever read the output has left: click ends the command.
        raise
    except SchemaOutdated as error:
        if error.found == 0:
            raise Failed("there is no store at this URL: check it") from error
        raise Failed(f"{error} (opening the store as an application does it, unless migrate=false)") from error
    except (EventStoreError, OSError) as error:
        raise Failed(str(error)) from error


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

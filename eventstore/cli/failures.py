"""How the subcommands fail: in a few words on standard error, and with a code that says what it means."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from eventstore.errors import EventStoreError, SchemaOutdated


class Failed(click.ClickException):
    """The command could not do its work."""

    exit_code = 2


class Interrupted(click.ClickException):
    """The user has interrupted the command."""

    exit_code = 130


@contextmanager
def told_in_words() -> Iterator[None]:
    """Tell what eventstore, the operating system and the user do in the block, without traceback."""
    with _warnings_shown():
        try:
            yield
        except BrokenPipeError:
            # Whoever read the output has left: click ends the command.
            raise
        except EventStoreError as error:
            raise Failed("\n".join([_message(error), *getattr(error, "__notes__", ())])) from error
        except OSError as error:
            where = f"{error.filename}: " if isinstance(error.filename, str) else ""
            raise Failed(f"{where}{error.strerror or error}") from error
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error


def _message(error: EventStoreError) -> str:
    if isinstance(error, SchemaOutdated) and error.found == 0:
        return "there is no store at this URL: check it; nothing was made there"
    if isinstance(error, SchemaOutdated):
        return f"{error}; an application that opens the store does, unless with migrate=false"
    return str(error)


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show the warnings of eventstore, and not those of what works for it, which come back as errors."""
    shown, hidden = logging.StreamHandler(sys.stderr), logging.NullHandler()
    loggers = {logging.getLogger("eventstore"): shown, logging.getLogger(): hidden}
    for logger, handler in loggers.items():
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, handler in loggers.items():
            logger.removeHandler(handler)

"""`eventstore verify`: whether a store holds what it should."""

from __future__ import annotations

import asyncio
import sys

import click

from eventstore import Verification
from eventstore.cli.failures import told_in_words
from eventstore.cli.running import progress_shown, store_that_is_there
from eventstore.verifying.records import DEFAULT_MOST_PROBLEMS


@click.command(short_help="Check that a store holds what it should.")
@click.argument("url")
@click.option(
    "--most-problems",
    type=click.IntRange(min=0),
    default=DEFAULT_MOST_PROBLEMS,
    show_default=True,
    help="How many problems are listed; the rest are counted.",
)
def verify(url: str, most_problems: int) -> None:
    """Check that the store at URL holds what it should, and tell what is broken where.

    It only reads, beside others who may write. Exits with 0 if the store is sound, with 1 if something is broken, with
    2 if it could not be verified.
    """
    with told_in_words():
        verification = asyncio.run(_verify(url, most_problems))
    click.echo(str(verification))
    sys.exit(not verification.is_sound)


async def _verify(url: str, most_problems: int) -> Verification:
    async with store_that_is_there(url) as store:
        with progress_shown() as progress:
            return await store.verify(progress=progress, most_problems=most_problems)

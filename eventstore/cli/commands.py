"""The subcommands of `eventstore`, found by the entry-point group `eventstore.commands`: packages may add some."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points, version
from typing import Final

import click

from eventstore.cli.failures import Failed

GROUP: Final = "eventstore.commands"


class Subcommands(click.Group):
    """The installed subcommands; each is imported only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return sorted(entry_points(group=GROUP).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one of them, None if there is none of that name."""
        found = next(iter(entry_points(group=GROUP, name=cmd_name)), None)
        if found is None:
            return None
        try:
            command: click.Command = found.load()
        except ModuleNotFoundError as error:
            return _missing(found, error)
        return command


def _missing(found: EntryPoint, error: ModuleNotFoundError) -> click.Command:
    """Return a command that says what to install, whatever its arguments; `eventstore --help` lists it all the same."""
    distribution = found.dist.name if found.dist else found.module
    advice = f"{error.name} is not installed: run pip install '{distribution}[{','.join(['cli', *found.extras])}]'"

    @click.command(found.name, help=advice, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1)
    def missing(arguments: tuple[str, ...]) -> None:
        raise Failed(advice)

    return missing


@click.command(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("eventstore-kit"), message="eventstore-kit %(version)s")
def eventstore() -> None:
    """Look after event stores."""

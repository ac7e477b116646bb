"""The command `eventstore`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, or say what to install where it cannot run."""
    try:
        from eventstore.cli.commands import eventstore
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed: run pip install 'eventstore-kit[cli]'\n")
        sys.exit(2)
    eventstore(prog_name="eventstore")

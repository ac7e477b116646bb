"""Backends of third parties, as a package index would have installed them; and commands that find them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

CODE: Final = '''
from pathlib import Path

from eventstore.backend import Capability
from eventstore.errors import StorageError
from eventstore.watching import Look
from eventstore_memory import MemoryBackend

STATES = {}

class Kept(MemoryBackend):
    """Keeps what it has, and shares it, as long as the process lives."""
    name = "Kept"
    capabilities = frozenset({Capability.DURABLE, Capability.SHARED})

    def __init__(self, url):
        super().__init__()
        self._state = STATES.setdefault(url, self._state)

    async def _look(self):
        return Look(self._state.head, 0.005)

class Modest(Kept):
    """Claims nothing."""
    capabilities = frozenset()

class Alone(MemoryBackend):
    """Refuses to be opened beside another."""
    capabilities = frozenset()

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.is_open = False

    async def open(self):
        if self.url in STATES:
            raise StorageError("it is open elsewhere")
        STATES[self.url], self.is_open = self, True

    async def close(self):
        if self.is_open:
            del STATES[self.url]
            self.is_open = False

class Unfinished(MemoryBackend):
    """Has no list of streams yet."""
    list_streams = None

    def __init__(self, url):
        super().__init__()

class Forgetful(MemoryBackend):
    """Forgets where a reader was."""
    name = "Forgetful"

    def __init__(self, url):
        super().__init__()

    async def load_checkpoint(self, name):
        return 0

class Telling(MemoryBackend):
    """Writes down the types of events."""
    capabilities = frozenset()

    def __init__(self, url):
        super().__init__()

    async def append(self, transactions):
        with Path("told.txt").open("a") as file:
            for (write,) in transactions:
                file.writelines(f"{event.event_type!a}\\n" for event in write.events)
        return await super().append(transactions)
'''

ENTRY_POINTS: Final = """
[eventstore.backends]
kept = eventstore_acme:Kept
modest = eventstore_acme:Modest
alone = eventstore_acme:Alone
unfinished = eventstore_acme:Unfinished
forgetful = eventstore_acme:Forgetful
telling = eventstore_acme:Telling
"""


class ThirdParty:
    """A folder with the package in it, where commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "eventstore_acme.py").write_text(CODE)
        metadata = folder / "eventstore_acme-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: eventstore-acme\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(ENTRY_POINTS)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the folder."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "COLUMNS": "120"}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def conform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `eventstore conform`."""
        return self.python("-c", "from eventstore.cli import main; main()", "conform", *arguments)

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest as in a project without any settings."""
        return self.python("-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, *arguments)

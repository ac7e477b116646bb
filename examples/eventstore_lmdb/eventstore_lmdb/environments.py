"""The open folders of this process. LMDB forbids opening one twice, so stores on one folder share it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import lmdb

from eventstore.errors import SchemaOutdated, StorageError
from eventstore_lmdb.options import Options
from eventstore_lmdb.tables import NAMES, SCHEMA_VERSION, Tables, create_tables, found_version, open_tables
from eventstore_lmdb.threads import Threads

READERS: Final = 4
"""How many threads read one folder beside the one that writes."""


class SharedEnvironment:
    """A folder that stores of this process use, and the threads that do so. Made by `acquire`."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.options = options
        self.users = 0
        self.is_ending = False
        self.ended: Future[None] = Future()
        self.writer = Threads(1, "lmdb-writer")
        self.readers = Threads(READERS, "lmdb-reader")
        self._opened: lmdb.Environment | None = None
        self._tables: Tables | None = None

    @property
    def opened(self) -> lmdb.Environment:
        """The environment; there once `open` has returned."""
        assert self._opened is not None
        return self._opened

    @property
    def tables(self) -> Tables:
        """The tables; there once `open` has returned."""
        assert self._tables is not None
        return self._tables

    # --- Run in the writer's thread, one after the other ---------------------------------------------------------

    def open(self) -> None:
        """Open the folder and its tables, and create what is missing if the options say so."""
        if self.options.migrate and not self.options.read_only:
            self.migrate()
        if self.schema_version() == 0:
            raise SchemaOutdated(0, SCHEMA_VERSION)
        self._tables = self._tables or open_tables(self._environment())

    def migrate(self) -> None:
        """Create the folder and the tables that are missing."""
        create_tables(self._environment())

    def schema_version(self) -> int:
        """Return the version of the schema, 0 where there is none; creates nothing."""
        return found_version(self._environment()) if (self.folder / "data.mdb").exists() else 0

    def close(self) -> None:
        """Close the folder."""
        if self._opened is not None:
            self._opened.close()

    def _environment(self) -> lmdb.Environment:
        if self._opened is None:
            self._opened = lmdb.open(
                str(self.folder),
                map_size=self.options.map_size,
                max_dbs=len(NAMES),
                readonly=self.options.read_only,
                sync=self.options.sync,
            )
        return self._opened


_lock: Final = threading.Lock()
_shared: Final[dict[Path, SharedEnvironment]] = {}


async def acquire(path: Path, options: Options) -> SharedEnvironment:
    """Return the environment of a folder, to be given back with `release`.

    Raises `StorageError` if the folder is in use in this process with other options.
    """
    folder = _resolved(path)
    while True:
        with _lock:
            shared = _shared.get(folder)
            if shared is None:
                shared = _shared[folder] = SharedEnvironment(folder, options)
            elif not shared.is_ending and shared.options != options:
                raise StorageError(
                    f"{folder} is in use in this process with {shared.options}: open it with the same options"
                )
            if not shared.is_ending:
                shared.users += 1
                return shared
        await asyncio.shield(asyncio.wrap_future(shared.ended))


async def release(shared: SharedEnvironment) -> None:
    """Give an environment back; the last one closes it, and ends its threads."""
    with _lock:
        shared.users -= 1
        if shared.users:
            return
        shared.is_ending = True
    await shared.readers.end()
    await shared.writer.run(shared.close)
    await shared.writer.end()
    with _lock:
        del _shared[shared.folder]
    shared.ended.set_result(None)


def _resolved(path: Path) -> Path:
    return path.resolve()

"""The file of a store: where it is, and how connections to it are opened."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

import aiosqlite

from eventstore.errors import InvalidUrl, StorageError, StoreUnavailable
from eventstore.urls import path_of

BUSY_SLICE: Final = 0.01
"""Seconds that SQLite itself waits for a lock, in its thread, where nothing can cancel it; we then wait on."""

OLDEST_SQLITE: Final = (3, 38)
"""RETURNING and MATERIALIZED came with 3.35, STRICT tables with 3.37, JSON and its ->> operator with 3.38."""


def path_in(base: str) -> Path | None:
    """Return the path in a store URL without its query string, None for a private store."""
    if not base.partition("://")[2]:
        return None
    path = path_of(base)
    if path == Path(":memory:"):
        raise InvalidUrl("write sqlite:// for a private store in memory")
    return path


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a store; see `eventstore_sqlite.open_backend`."""

    synchronous: str = "full"
    busy_timeout: float = 5.0
    readers: int = 4
    migrate: bool = True
    immutable: bool = False


class DatabaseFile:
    """One file; for a private store, one in a temporary directory that is removed when the store is closed.

    A private store is a file, too, because SQLite has nothing in memory where readers and a writer work side by side:
    its memdb refuses readers while a transaction is open (tests/sqlite/test_private.py shows it). The file is
    never synced, so it lives in the page cache.
    """

    def __init__(self, path: Path | None, settings: Settings) -> None:
        self.settings = settings
        self.is_private = path is None
        self._path = path
        self._remove: weakref.finalize[..., DatabaseFile] | None = None

    def __str__(self) -> str:
        return "private SQLite database" if self.is_private else f"SQLite database {str(self._path)!r}"

    @property
    def path(self) -> Path | None:
        """Where the file is, None for a private store that has none yet."""
        return self._path

    def exists(self) -> bool:
        """Tell whether there is a file. Raises `StoreUnavailable` where none can be."""
        if self._path is None:
            return False
        directory = self._path.parent
        try:
            if not directory.is_dir():
                raise StoreUnavailable(f"cannot open {self}: there is no directory {str(directory)!r}; create it first")
            if self._path.is_dir():
                raise StoreUnavailable(f"cannot open {self}: it is a directory; name a file")
            return self._path.exists()
        except OSError as error:
            raise StoreUnavailable(f"cannot open {self}: {error}") from error

    def prepare(self) -> None:
        """Check that SQLite can use the file, and give a private store its place."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            needed = ".".join(map(str, OLDEST_SQLITE))
            raise StorageError(f"SQLite {needed} or newer is needed; this Python comes with {sqlite3.sqlite_version}")
        if self.is_private and self._path is None:
            try:
                directory = tempfile.mkdtemp(prefix="eventstore-")
            except OSError as error:
                raise StorageError(f"there is no place for a {self}: {error}") from error
            # Also runs when the interpreter exits, for those who forget to close.
            self._remove = weakref.finalize(self, _remove, directory, os.getpid())
            self._path = Path(directory, "events.db")
        if self.settings.immutable and self._has_pending_changes():
            raise StorageError(f"{self} is not immutable: it has changes in its -wal file; open it without that option")

    def remove(self) -> None:
        """Remove the file of a private store."""
        if self._remove is not None:
            self._remove()
            self._remove = None
            self._path = None

    def connection(self, *, create: bool = False) -> aiosqlite.Connection:
        """Return a connection that is yet to be awaited; it begins no transaction by itself."""
        assert self._path is not None
        mode = "mode=ro&immutable=1" if self.settings.immutable else "mode=rwc" if create else "mode=rw"
        connection = aiosqlite.connect(
            f"{self._path.absolute().as_uri()}?{mode}",
            uri=True,
            isolation_level=None,
            timeout=min(BUSY_SLICE, self.settings.busy_timeout),
        )
        # A connection that nobody closed must not keep the process alive: tests/sqlite/test_closing.py.
        thread_of(connection).daemon = True
        return connection

    @property
    def synchronous(self) -> str:
        """When commits are synced to the disk; those of a private store never are."""
        return "off" if self.is_private else self.settings.synchronous

    def _has_pending_changes(self) -> bool:
        log = Path(f"{self._path}-wal")
        return log.exists() and log.stat().st_size > 0


def _remove(directory: str, process: int) -> None:
    """Remove the folder of a private store, but not in a forked child: it is its parent's."""
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)


def thread_of(connection: aiosqlite.Connection) -> Thread:
    """Return the thread of a connection: an attribute of it, up to aiosqlite 0.21 the connection itself."""
    thread = getattr(connection, "_thread", connection)
    assert isinstance(thread, Thread)
    return thread

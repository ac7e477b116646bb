"""What SQLite says, in the words of eventstore."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from eventstore.errors import (
    EventStoreError,
    StorageError,
    StoreNotOpen,
    StoreReadOnly,
    StoreUnavailable,
    TransactionConflict,
)


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code (https://sqlite.org/rescode.html), 0 for an error of the Python module."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def driver_errors(database: object) -> Iterator[None]:
    """Raise what the driver raises inside the block as an `EventStoreError`, chained; `database` is named in it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, database) from error


def _translated(error: sqlite3.Error, database: object) -> EventStoreError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return TransactionConflict(
            f"{database} changed after the transaction had read from it: roll it back, and begin the next one with "
            "BEGIN IMMEDIATE, or it may happen again"
        )
    if code == sqlite3.SQLITE_READONLY_DIRECTORY:
        return StoreUnavailable(
            f"cannot open {database}: SQLite has to create a -shm file beside it, and the directory is read-only; make "
            "it writable, or open the store with immutable=true if nobody can change the file"
        )
    match primary_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(
                f"{database} is locked by another writer ({error}): try again, or raise busy_timeout"
            )
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(f"cannot open {database}: check that the file is there and may be read")
        case sqlite3.SQLITE_READONLY:
            return StoreReadOnly(f"{database} is read-only: nothing was written")
        case sqlite3.SQLITE_NOTADB:
            return StorageError(f"{database} is no database: the file holds something else; name another file")
        case sqlite3.SQLITE_CORRUPT:
            return StorageError(f"{database} is corrupt ({error}): restore it from a backup")
        case sqlite3.SQLITE_FULL:
            return StorageError(f"the disk of {database} is full: this call wrote nothing; make room, then try again")
        case sqlite3.SQLITE_IOERR:
            return StorageError(
                f"{database} could not be read or written ({error}): look at its disk, and at quotas and limits"
            )
        case 0 if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            return StoreNotOpen(f"the {database}", closed=True)
    return StorageError(f"{database} failed: {error}")

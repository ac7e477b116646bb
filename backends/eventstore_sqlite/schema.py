"""The schema: its numbered migrations, and how they are applied."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib.resources import files
from typing import Final, NamedTuple

from eventstore.errors import SchemaError, SchemaOutdated, SchemaTooNew
from eventstore_sqlite.statements import Run


class Migration(NamedTuple):
    """A numbered file of SQL."""

    version: int
    name: str
    sql: str

    def statements(self) -> Iterator[str]:
        """Cut the SQL into statements; `executescript` would commit the transaction that it runs in."""
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""


def _migrations() -> Iterator[Migration]:
    folder = files("eventstore_sqlite").joinpath("sql", "migrations")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        number, _, name = file.name.removesuffix(".sql").partition("_")
        yield Migration(int(number), name, file.read_text("utf-8"))


MIGRATIONS: Final = tuple(_migrations())
"""All of them, in order."""

LATEST: Final = MIGRATIONS[-1].version
"""The version that this eventstore needs."""

# Applications keep their own tables in the same file, so the version stands in a table and not in PRAGMA user_version.
_CREATE_VERSIONS: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version     INTEGER NOT NULL PRIMARY KEY,
        name        TEXT    NOT NULL,
        applied_at  INTEGER NOT NULL
    ) STRICT
"""
_HAS_VERSIONS: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'"
_LAST_VERSION: Final = "SELECT coalesce(max(version), 0) FROM schema_migrations"
_ADD_VERSION: Final = "INSERT INTO schema_migrations (version, name, applied_at) VALUES (:version, :name, :now)"


async def version(run: Run) -> int:
    """Return the version of the schema, 0 where there is none."""
    if not await run(_HAS_VERSIONS):
        return 0
    try:
        ((last,),) = await run(_LAST_VERSION)
    except sqlite3.OperationalError as error:
        raise _foreign(error) from error
    if not isinstance(last, int):
        raise SchemaError("the table schema_migrations belongs to something else: give the store a file of its own")
    return last


async def check(run: Run) -> None:
    """Raise `SchemaOutdated` or `SchemaTooNew` unless the schema is the one needed."""
    found = await version(run)
    if found < LATEST:
        raise SchemaOutdated(found, LATEST)
    if found > LATEST:
        raise SchemaTooNew(found, LATEST)


async def migrate(run: Run, immediate: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Bring the schema up to date; `immediate` begins a transaction that holds the write lock.

    Of several processes that do this at once, one has the lock, and the others find its work done.
    """
    found = await version(run)
    if found > LATEST:
        raise SchemaTooNew(found, LATEST)
    if found < LATEST:
        async with immediate():
            await _apply(run)


async def _apply(run: Run) -> None:
    # Asked again: somebody else may have had the lock first.
    found = await version(run)
    try:
        await run(_CREATE_VERSIONS)
        for migration in MIGRATIONS:
            if migration.version > found:
                for statement in migration.statements():
                    await run(statement)
                await run(_ADD_VERSION, {"version": migration.version, "name": migration.name})
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise _foreign(error) from error


def _foreign(error: sqlite3.Error) -> SchemaError:
    return SchemaError(
        f"the file has tables of another application in the way ({error}): give the store a file of its own"
    )

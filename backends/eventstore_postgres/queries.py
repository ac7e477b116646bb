"""The SQL of the backend, read from its files and made out for one schema."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from psycopg import sql

_SQL: Final = files("eventstore_postgres") / "sql"


class Migration(NamedTuple):
    """One numbered file of SQL."""

    version: int
    name: str
    text: str


class Queries:
    """The statements of one store. The schema's name is the one thing put into their text, as a quoted identifier.

    Those of a plain store, until `lay_out` says that it is another.
    """

    def __init__(self, schema: str) -> None:
        self._schema = sql.Identifier(schema).as_string()
        self.lay_out(is_partitioned=False)

    def lay_out(self, *, is_partitioned: bool) -> None:
        """Make out the statements for a layout, for all who share them."""
        named = _named_queries("queries.sql")
        if is_partitioned:
            named = named | _named_queries("partitioned_queries.sql")
        # psycopg reads % in a statement as the beginning of a placeholder.
        fragments = {
            "schema": self._schema.replace("%", "%%"),
            "sequence": sql.Literal(self.qualified("events_global_position_seq")).as_string().replace("%", "%%"),
        }
        fragments["keys"] = _filled(named["keys"], fragments).strip()
        for fragment in ("head", "heads", "event_columns", "event_of_key"):
            if fragment in named:
                fragments[fragment] = _filled(named[fragment], fragments)
        self._statements = {name: _filled(text, fragments).encode() for name, text in named.items()}

    def __getitem__(self, name: str) -> bytes:
        return self._statements[name]

    def made_out(self, migration: Migration) -> bytes:
        """Return the statements of a migration, to be executed without parameters."""
        return _filled(migration.text, {"schema": self._schema}).encode()

    def partitioned_layout(self, partition_size: int) -> bytes:
        """Return the statements that partition the empty table, to be executed without parameters."""
        text = (_SQL / "partitioned.sql").read_text("utf-8")
        return _filled(text, {"schema": self._schema, "partition_size": str(partition_size)}).encode()

    def qualified(self, name: str) -> str:
        """Return the quoted, qualified name of a table or sequence of the store."""
        return f"{self._schema}.{name}"


@cache
def _named_queries(file: str) -> dict[str, str]:
    """Return the queries of a file by the name in the comment above each."""
    parts = re.split(r"^-- name: (\w+)\n", (_SQL / file).read_text("utf-8"), flags=re.MULTILINE)
    # Without the comments: psycopg remembers what it made of a statement only up to 4,096 characters.
    parts[2::2] = (re.sub(r"^ *--.*\n", "", part, flags=re.MULTILINE) for part in parts[2::2])
    return dict(zip(parts[1::2], (part.strip() + "\n" for part in parts[2::2]), strict=True))


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order."""
    found = sorted((file for file in (_SQL / "migrations").iterdir()), key=lambda file: file.name)
    return tuple(
        Migration(int(file.name[:4]), file.name[5:].removesuffix(".sql"), file.read_text("utf-8"))
        for file in found
        if file.name.endswith(".sql")
    )


def _filled(text: str, fragments: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: fragments[match[1]], text)

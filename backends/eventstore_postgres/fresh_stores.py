"""Fresh stores for the conformance suite: a schema for each, in the database that the URL names."""

from __future__ import annotations

from urllib.parse import quote

from psycopg import AsyncConnection, sql

from eventstore_postgres import settings_of


def fresh_url(url: str, namespace: str) -> str:
    """Return the URL of the schema that a namespace names, in the same database."""
    base, _, query = url.partition("?")
    options = [option for option in query.split("&") if option and not option.startswith("schema=")]
    return f"{base}?{'&'.join([*options, f'schema={quote(namespace)}'])}"


async def remove_store(url: str) -> None:
    """Remove a store's schema."""
    conninfo, options = settings_of(url)
    schema = sql.Identifier(options["schema"])
    async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))

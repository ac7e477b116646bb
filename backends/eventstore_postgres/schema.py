"""The schema of a store: created and upgraded by numbered files of SQL, and checked for soundness when it is opened."""

from __future__ import annotations

from typing import Final

from psycopg import AsyncConnection, sql

from eventstore.errors import SchemaError, SchemaOutdated, SchemaTooNew
from eventstore_postgres.deadlines import Deadline
from eventstore_postgres.fetching import fetch
from eventstore_postgres.queries import Queries, migrations

SCHEMA_VERSION: Final = len(migrations())
_LOCK_SEED: Final = 0x6D696772


async def found_version(connection: AsyncConnection, queries: Queries) -> int:
    """Return the version of the schema, 0 if there is none.

    Raises `SchemaError` where positions are not drawn one by one: the settled log would not hold.
    """
    parameters = {
        "migrations": queries.qualified("schema_migrations"),
        "sequence": queries.qualified("events_global_position_seq"),
    }
    ((exists, cache, increment, cycles, encoding),) = await fetch(connection, queries["soundness"], parameters)
    if encoding != "UTF8":
        raise SchemaError(
            f"the database's encoding is {encoding}: names and JSON need a database whose encoding is UTF8"
        )
    if cache is not None and (cache != 1 or increment != 1 or cycles):
        sequence = parameters["sequence"]
        raise SchemaError(
            f"the sequence {sequence} has CACHE {cache}, INCREMENT {increment}{', CYCLE' if cycles else ''}: readers "
            f"could miss events. Run: ALTER SEQUENCE {sequence} CACHE 1 INCREMENT 1 NO CYCLE"
        )
    if not exists:
        return 0
    cursor = await connection.execute(queries["schema_version"], {})
    ((version,),) = await cursor.fetchall()
    return int(version)


async def require_current(
    connection: AsyncConnection,
    queries: Queries,
    schema: str,
    *,
    migrate: bool,
    partition_size: int | None,
    call_timeout: float,
) -> bool:
    """Check the schema, and bring it up to date if `migrate` says so; return whether its log is partitioned.

    Raises `SchemaError` if it cannot be used. An upgrade takes as long as it takes, and waits for those of others; a
    look no longer than `call_timeout`.
    """
    with Deadline(connection, call_timeout):
        found = await found_version(connection, queries)
    if found < SCHEMA_VERSION and migrate:
        found = await upgrade(connection, queries, schema, partition_size)
    if found > SCHEMA_VERSION:
        raise SchemaTooNew(found, SCHEMA_VERSION)
    if found < SCHEMA_VERSION:
        raise SchemaOutdated(found, SCHEMA_VERSION)
    with Deadline(connection, call_timeout):
        return await require_sound_log(connection, queries, partition_size)


async def require_sound_log(connection: AsyncConnection, queries: Queries, partition_size: int | None) -> bool:
    """Return whether the log is partitioned. Raises `SchemaError` if it is not and a size is given, or is not sound."""
    sequence, events = queries.qualified("events_global_position_seq"), queries.qualified("events")
    ((drawn, used, is_partitioned),) = await fetch(
        connection, queries["log_state"], {"sequence": sequence, "events": events}
    )
    if drawn is not None and drawn < used:
        raise SchemaError(
            f"the sequence {sequence} is at {drawn} and the log at {used}: positions would be given out a second time. "
            f"Was the table restored without it? Run: SELECT setval({sql.Literal(sequence).as_string()}, {used})"
        )
    if partition_size is not None and not is_partitioned:
        raise SchemaError(
            f"partition_size is for new stores, and the table {events} is there, in one piece: open the store without "
            "partition_size, or copy its events into a new store, in another schema, that is opened with it"
        )
    return bool(is_partitioned)


async def upgrade(connection: AsyncConnection, queries: Queries, schema: str, partition_size: int | None = None) -> int:
    """Apply the migrations that are missing, all or none, one process at a time; return the version reached.

    A store that is new is partitioned, if `partition_size` says so.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [schema, _LOCK_SEED])
        # A role that may not create schemas can still own one.
        cursor = await connection.execute("SELECT to_regnamespace(%s) IS NULL", [sql.Identifier(schema).as_string()])
        if (await cursor.fetchall())[0][0]:
            await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        version = await found_version(connection, queries)
        for migration in migrations()[version:]:
            await connection.execute(queries.made_out(migration))
            await connection.execute(queries["record_migration"], [migration.version, migration.name])
        if version == 0 and partition_size is not None:
            await connection.execute(queries.partitioned_layout(partition_size))
        return max(version, SCHEMA_VERSION)

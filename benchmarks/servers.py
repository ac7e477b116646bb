"""The Postgres server that a run starts for itself, with the durability that Postgres has by default."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import Final

import psycopg
from psycopg import AsyncConnection, sql

from tests.postgres_server import PostgresServer, default_binaries

SETTINGS: Final[Mapping[str, str | int]] = {
    "max_connections": 300,
    # Everybody's turn is long enough to be measured, and short beside a checkpoint.
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
    "checkpoint_timeout": "30min",
    "autovacuum_naptime": "1h",
}
"""What differs from the defaults: nothing about durability, and nothing that one contestant has and another has not."""

_numbers = count(1)


def start_server() -> PostgresServer:
    """Return a server that is not started yet, with `fsync` and `synchronous_commit` on."""
    return PostgresServer(default_binaries(), fsync=True, settings=SETTINGS)


@asynccontextmanager
async def a_database(server: PostgresServer, **settings: str | int) -> AsyncIterator[str]:
    """Make a database, with settings of its own, and yield its URL; it is dropped afterwards."""
    name = sql.Identifier(f"bench_{next(_numbers)}")
    async with await AsyncConnection.connect(server.url(), autocommit=True) as connection:
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        for setting, value in settings.items():
            alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
            await connection.execute(alter.format(name, sql.Identifier(setting), sql.Literal(str(value))))
        try:
            yield server.url(name.as_string().strip('"'))
        finally:
            await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


async def conditions(server: PostgresServer | None) -> dict[str, str]:
    """Return what a reader of the figures needs to know of the machine and the settings."""
    known = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "Python": sys.version.split()[0],
        "SQLite": f"{sqlite3.sqlite_version}, WAL, synchronous=FULL",
        "payload": "300 bytes of JSON, metadata {}",
    }
    for package in ("psycopg", "aiosqlite", "msgspec", "orjson", "eventsourcing"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "not installed"
    if server is not None:
        async with await AsyncConnection.connect(server.url()) as connection:
            rows = await connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN "
                "('server_version', 'fsync', 'synchronous_commit', 'wal_sync_method', 'full_page_writes')"
            )
            found: dict[str, str] = dict(await rows.fetchall())
        known["Postgres"] = f"{found.pop('server_version')}, " + ", ".join(f"{k}={v}" for k, v in found.items())
        known["psycopg implementation"] = psycopg.pq.__impl__
    return known

"""A standby that streams from a primary, made from a copy of the primary's files."""

from __future__ import annotations

import asyncio

import psycopg

from tests.postgres_server import PostgresServer


class Standby(PostgresServer):
    """A hot standby of another server, which is stopped for a moment to be copied; gone with its context.

    Copied and not made with pg_basebackup, which not every installation brings.
    """

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.binaries, fsync=True)
        self._primary = primary

    def _create_cluster(self) -> None:
        self._primary.stop()
        try:
            # By the server's own account, so that it owns the copy.
            copying = 'cp -Rp "$1" "$2" && touch "$2/standby.signal"'
            result = self._run("/bin/sh", "-c", copying, "copy", self._primary.directory / "data", self._data)
        finally:
            self._primary.start()
        if result.returncode != 0:
            raise RuntimeError(f"the primary's files could not be copied.\n{result.stderr}")
        connection = f"host=127.0.0.1 port={self._primary.port} user=postgres application_name=standby"
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{self.directory}'\nprimary_conninfo = '{connection}'\n")

    def promote(self) -> None:
        """Make it a primary of its own, and return when it is one."""
        result = self._run("pg_ctl", "promote", "-w", "-D", self._data)
        if result.returncode != 0:
            raise RuntimeError(f"the standby was not promoted.\n{result.stdout}{result.stderr}")


async def require_synchronous(primary: PostgresServer) -> None:
    """Have every commit of the primary wait for its standby from now on, and return when that streams."""
    async with await psycopg.AsyncConnection.connect(primary.url(), autocommit=True) as connection:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
    await until_true(primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")


async def until_true(server: PostgresServer, question: str) -> None:
    """Return when a server says yes."""
    async with asyncio.timeout(30), await psycopg.AsyncConnection.connect(server.url(), autocommit=True) as connection:
        while True:
            cursor = await connection.execute(question.encode())
            if await cursor.fetchall() == [(True,)]:
                return
            await asyncio.sleep(0.02)

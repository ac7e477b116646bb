"""A disk that fills up under Postgres: nothing is half written, and the store works again once there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from eventstore import NO_STREAM, NewEvent, StorageError, open_store
from tests.faults.clients import clients_on
from tests.faults.small_disk import SmallDisk, small_disk, tables_on
from tests.postgres.driving import connected
from tests.postgres_server import PostgresServer, ServerBinaries, default_binaries

pytestmark = pytest.mark.asyncio

ROOM = 16
"""Megabytes of a disk for tables."""


class LogApart(PostgresServer):
    """A server whose write-ahead log is on a disk of its own."""

    def __init__(self, binaries: ServerBinaries, disk: Path) -> None:
        super().__init__(binaries, fsync=True, settings={"min_wal_size": "32MB", "max_wal_size": "48MB"})
        self._disk = disk

    def _create_cluster(self) -> None:
        super()._create_cluster()
        moving = 'mv "$1/pg_wal" "$2/pg_wal" && ln -s "$2/pg_wal" "$1/pg_wal"'
        result = self._run("/bin/sh", "-c", moving, "move", self._data, self._disk)
        if result.returncode != 0:
            raise RuntimeError(f"the log could not be moved.\n{result.stderr}")


@pytest.fixture
def disk(durable_server: PostgresServer) -> Iterator[SmallDisk]:
    with small_disk(ROOM, durable_server.directory.stat()) as disk:
        yield disk


@pytest_asyncio.fixture
async def url(durable_url: str, disk: SmallDisk) -> AsyncIterator[str]:
    """A store whose tables lie on that disk."""
    async with tables_on(disk, durable_url) as url:
        yield url


async def test_a_batch_that_does_not_fit_is_not_stored_and_fits_once_there_is_room(url: str, disk: SmallDisk) -> None:
    batch = [NewEvent("Large", {"text": f"{number:07}" * 10_000}) for number in range(100)]
    async with open_store(url) as store:
        recorded = await store.append("order-1", [NewEvent("Placed", {})], expected_version=NO_STREAM)
        disk.fill()
        with pytest.raises(StorageError, match="No space left on device"):
            await store.append("order-1", batch, expected_version=1)
        assert [event async for event in store.read_all()] == recorded
        disk.make_room()
        recorded += await store.append("order-1", batch, expected_version=1)
        assert [event async for event in store.read_all()] == recorded


async def test_clients_go_on_after_the_disk_was_full(url: str, disk: SmallDisk, tmp_path: Path) -> None:
    async with clients_on(url, tmp_path) as clients:
        await clients.until_acknowledged(5)
        disk.fill()
        await clients.until_written(b"StorageError")
        disk.make_room()
        await clients.until_acknowledged(5)
        (await clients.finish()).require_soundness()


async def test_a_full_disk_under_the_servers_log_loses_and_doubles_nothing(
    durable_server: PostgresServer, tmp_path: Path
) -> None:
    """Postgres cannot go on without its log: it goes down, and comes back when there is room and it is started."""
    with small_disk(80, durable_server.directory.stat()) as disk, LogApart(default_binaries(), disk.path) as server:
        async with clients_on(server.url(), tmp_path) as clients:
            await clients.until_acknowledged(5)
            disk.fill()
            await until_it_is_down(server)
            disk.make_room()
            with suppress(RuntimeError):
                await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await clients.until_acknowledged(5)
            (await clients.finish()).require_soundness()


async def until_it_is_down(server: PostgresServer) -> None:
    """Have the server begin new files of its log until it cannot."""
    log = server.directory / "server.log"
    async with asyncio.timeout(30):
        while "PANIC" not in log.read_text():
            with suppress(psycopg.Error):
                async with connected(server.url()) as connection:
                    await connection.execute("SELECT pg_switch_wal()")

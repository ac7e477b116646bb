"""Clients in processes of their own work on, whatever dies or freezes; what they saw is checked against the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.clients import Clients, clients_on
from tests.faults.servers import frozen, kill_and_start, restart
from tests.postgres_server import PostgresServer
from tests.proxy import Fault, Moment, Proxy

pytestmark = pytest.mark.asyncio

WARM_UP = 10
"""How many appends each client has acknowledged before something is done to it, and at least after it."""


async def require_soundness(clients: Clients) -> None:
    await clients.until_acknowledged(WARM_UP)
    verdict = await clients.finish()
    verdict.require_soundness()


async def test_a_server_that_is_killed_loses_and_doubles_nothing(
    durable_server: PostgresServer, durable_url: str, tmp_path: Path
) -> None:
    async with clients_on(durable_url, tmp_path) as clients:
        await clients.until_acknowledged(WARM_UP)
        await kill_and_start(durable_server)
        await require_soundness(clients)


async def test_a_server_that_is_restarted_loses_and_doubles_nothing(
    durable_server: PostgresServer, durable_url: str, tmp_path: Path
) -> None:
    async with clients_on(durable_url, tmp_path) as clients:
        await clients.until_acknowledged(WARM_UP)
        await restart(durable_server)
        await require_soundness(clients)


async def test_a_writer_that_is_killed_leaves_nothing_half_done(durable_url: str, tmp_path: Path) -> None:
    async with clients_on(durable_url, tmp_path) as clients:
        await clients.until_acknowledged(WARM_UP)
        await clients.all[0].kill()
        await require_soundness(clients)


async def test_a_writer_that_is_frozen_holds_nobody_up(durable_url: str, tmp_path: Path) -> None:
    async with clients_on(durable_url, tmp_path) as clients:
        await clients.until_acknowledged(WARM_UP)
        with clients.all[0].frozen():
            await clients.until_acknowledged(WARM_UP, among=clients.all[1:])
        await require_soundness(clients)


async def test_a_server_that_is_frozen_loses_and_doubles_nothing(
    durable_server: PostgresServer, durable_url: str, tmp_path: Path
) -> None:
    async with clients_on(f"{durable_url}&call_timeout=0.2&pool_timeout=0.5", tmp_path) as clients:
        await clients.until_acknowledged(WARM_UP)
        with frozen(durable_server):
            # Not waited for, but long enough for the clients to give their connections up.
            await asyncio.sleep(0.5)
        await require_soundness(clients)


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_connections_that_are_lost_at_any_moment_lose_and_double_nothing(
    durable_url: str, proxy: Proxy, tmp_path: Path, fault: Fault
) -> None:
    url = proxy.to(f"{durable_url}&call_timeout=0.2&pool_timeout=0.5")
    async with clients_on(url, tmp_path) as clients:
        for moment in Moment:
            proxy.plan(moment, fault, times=4)
            await clients.until_acknowledged(WARM_UP)
        await require_soundness(clients)
        assert proxy.cuts + proxy.silenced == 8

"""The stores that the soak hurts, and for each the faults that it knows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from tests.faults.clients import Clients, clients_on
from tests.faults.servers import frozen, kill_and_start, restart
from tests.faults.small_disk import small_disk, tables_on
from tests.faults.standby import Standby, require_synchronous
from tests.postgres_server import PostgresServer, default_binaries
from tests.proxy import Fault, Moment, Proxy

Doing: TypeAlias = Callable[[], Awaitable[None]]

_LIMITS: Final = "call_timeout=0.5&pool_timeout=1"
_LONGEST: Final = 2.0
"""Seconds that something is frozen or unreachable, at most: longer than a call may take, and shorter."""


class World(NamedTuple):
    """Clients at work on a store, and what may be done to them by name."""

    clients: Clients
    faults: dict[str, Doing]
    last: str = ""
    """A fault that comes at the end, if chance has not brought it before."""


class Place(NamedTuple):
    """Where a world is made."""

    server: PostgresServer
    folder: Path
    name: str
    chance: random.Random

    def clients(self, url: str) -> AbstractAsyncContextManager[Clients]:
        retry_timeout = self.chance.choice([0, 0.5, 5, 30])
        return clients_on(url, self.folder, number=3, seed=self.name, retry_timeout=retry_timeout)


@asynccontextmanager
async def a_server(place: Place) -> AsyncIterator[World]:
    """One Postgres behind a network."""
    server, chance = place.server, place.chance
    async with Proxy(server.port) as proxy:
        url = proxy.to(f"{server.url()}?schema={place.name}&{_LIMITS}")

        async def freeze_server() -> None:
            with frozen(server):
                await asyncio.sleep(chance.uniform(0, _LONGEST))

        async def be_unreachable() -> None:
            with proxy.unreachable():
                await asyncio.sleep(chance.uniform(0, _LONGEST))

        async def be_slow() -> None:
            proxy.delay = chance.uniform(0, 0.05)
            await asyncio.sleep(chance.uniform(0, _LONGEST))
            proxy.delay = 0

        def disturb(moment: Moment, fault: Fault) -> Doing:
            async def plan() -> None:
                proxy.plan(moment, fault, times=chance.randint(1, 5))

            return plan

        async def cut_all() -> None:
            proxy.cut()

        async with place.clients(url) as clients:
            yield World(
                clients,
                {
                    "server killed": lambda: kill_and_start(server),
                    "server restarted": lambda: restart(server),
                    "server frozen": freeze_server,
                    "network unreachable": be_unreachable,
                    "network slow": be_slow,
                    "all connections cut": cut_all,
                    **{
                        f"{fault.name.lower()} at {moment.name.lower()}": disturb(moment, fault)
                        for fault in Fault
                        for moment in Moment
                    },
                    **faults_of_clients(clients, chance),
                },
            )


@asynccontextmanager
async def a_pair(place: Place) -> AsyncIterator[World]:
    """A primary and its synchronous standby, which takes over once."""
    with PostgresServer(default_binaries(), fsync=True) as primary, Standby(primary) as standby:
        await require_synchronous(primary)
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        serving: list[PostgresServer] = [primary]

        async def fail_over() -> None:
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(standby.promote)
            serving[0] = standby
            del faults["fail-over"]

        async def freeze_server() -> None:
            with frozen(serving[0]):
                await asyncio.sleep(place.chance.uniform(0, _LONGEST))

        async with place.clients(f"postgresql://postgres@{hosts}/postgres?{_LIMITS}") as clients:
            faults: dict[str, Doing] = {
                "fail-over": fail_over,
                "server killed": lambda: kill_and_start(serving[0]),
                "server frozen": freeze_server,
                **faults_of_clients(clients, place.chance),
            }
            yield World(clients, faults, last="fail-over")


@asynccontextmanager
async def a_small_disk(place: Place) -> AsyncIterator[World]:
    """Tables on a disk that fills up, and is emptied."""
    with small_disk(256, place.server.directory.stat()) as disk:
        async with (
            tables_on(disk, f"{place.server.url()}?schema={place.name}") as url,
            place.clients(url) as clients,
        ):

            async def fill() -> None:
                disk.fill()
                try:
                    await clients.until_written(b"StorageError")
                finally:
                    disk.make_room()

            yield World(clients, {"disk full": fill, **faults_of_clients(clients, place.chance)})


@asynccontextmanager
async def a_file(place: Place) -> AsyncIterator[World]:
    """One SQLite file, and processes that share it."""
    async with place.clients(f"sqlite:///{place.folder / 'store.db'}") as clients:
        yield World(clients, faults_of_clients(clients, place.chance))


def faults_of_clients(clients: Clients, chance: random.Random) -> dict[str, Doing]:
    """Return what may be done to clients, whatever they work on."""

    async def kill() -> None:
        await chance.choice(clients.alive).kill()
        await clients.start()

    async def freeze() -> None:
        with chance.choice(clients.alive).frozen():
            await asyncio.sleep(chance.uniform(0, _LONGEST))

    return {"client killed": kill, "client frozen": freeze}


WORLDS: Final = (a_server, a_file, a_pair, a_server, a_small_disk)
"""What the soak goes through, again and again."""

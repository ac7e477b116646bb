"""A program that appends until there is no room: `python -m tests.faults.filling FOLDER WAY [limited]`.

It mounts a disk of a few MB in a mount namespace of its own, so that nothing is left of it whatever happens; without
root it is root in a user namespace of its own. Where neither is allowed, or on request, its files are limited in size.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

from eventstore import ANY, EventStore, NewEvent, StorageError, StreamWrite, open_store

SIZE = "size=3m"
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000

Appended = dict[str, list[UUID]]


def little_room(folder: Path, *, limited: bool) -> Callable[[], None]:
    """Leave little room in a folder, for this process alone; return what makes room again."""
    try:
        if not limited:
            mount_small_disk(folder)
            ballast = folder / "ballast"
            ballast.write_bytes(bytes(1024 * 1024))
            return ballast.unlink
    except (OSError, AttributeError) as error:
        sys.stderr.write(f"no disk could be mounted: {error!r}\n")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 1024 * 1024, most))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def mount_small_disk(folder: Path) -> None:
    """Let `folder` be a small disk, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    must(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    must(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    must(libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, SIZE.encode()))


def must(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def events(number: int, size: int) -> list[NewEvent]:
    return [NewEvent("Filled", {"text": "x" * size}) for _ in range(number)]


async def one_by_one(store: EventStore, number: int, appended: Appended) -> None:
    batch = events(1, 2000)
    await store.append(f"one-{number}", batch, expected_version=0)
    appended[f"one-{number}"] = [event.event_id for event in batch]


async def in_batches(store: EventStore, number: int, appended: Appended) -> None:
    writes = [StreamWrite(f"{name}-{number}", events(20, 2000), ANY) for name in ("left", "right")]
    await store.append_many(writes)
    appended |= {write.stream_id: [event.event_id for event in write.events] for write in writes}


async def in_groups(store: EventStore, number: int, appended: Appended) -> None:
    calls = (one_by_one(store, 100 * number + nth, appended) for nth in range(20))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def in_transactions(store: EventStore, number: int, appended: Appended) -> None:
    here: Appended = {}
    async with store.transaction() as tx:
        for nth in range(10):
            batch = events(3, 2000)
            await tx.append(f"tx-{number}-{nth}", batch, expected_version=0)
            here[f"tx-{number}-{nth}"] = [event.event_id for event in batch]
        await tx.save_checkpoint(f"tx-{number}", 1, expected=0)
    appended |= here


WAYS: dict[str, Callable[[EventStore, int, Appended], Awaitable[None]]] = {
    "one by one": one_by_one,
    "in batches": in_batches,
    "in groups": in_groups,
    "in transactions": in_transactions,
}


async def stored(store: EventStore) -> Appended:
    found: Appended = {}
    async for event in store.read_all():
        ids = found.setdefault(event.stream_id, [])
        ids.append(event.event_id)
        assert event.version == len(ids)
    return found


async def fill(folder: Path, way: str, make_room: Callable[[], None]) -> None:
    """Append until there is no room, three times, and again when there is."""
    url = f"sqlite:///{folder}/events.db"
    appended: Appended = {}
    number = 0

    async def until_full(store: EventStore) -> StorageError:
        nonlocal number
        while True:
            number += 1
            try:
                await WAYS[way](store, number, appended)
            except StorageError as error:
                return error

    async with open_store(url, retry_timeout=0) as store:
        for _ in range(3):
            error = await until_full(store)
            assert "full" in str(error) or "limits" in str(error), error
            assert str(folder) in str(error), error
            assert await stored(store) == appended, "half of something is there"
    assert len(appended) > 10
    async with open_store(url, retry_timeout=0) as store:
        assert await stored(store) == appended, "reopened on the full disk it has all"
        make_room()
        for _ in range(5):
            number += 1
            await WAYS[way](store, number, appended)
        assert await stored(store) == appended
    async with open_store(url) as store:
        assert await stored(store) == appended
        assert await store.head() > 0
    sys.stdout.write("whole, before and after\n")


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1]), sys.argv[2], little_room(Path(sys.argv[1]), limited="limited" in sys.argv)))

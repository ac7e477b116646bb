"""What is done to a server under load."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.postgres_server import PostgresServer, running_processes


async def kill_and_start(server: PostgresServer) -> None:
    """SIGKILL all its processes, and start it again."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def restart(server: PostgresServer) -> None:
    """Shut it down, cutting off its clients, and start it again."""
    await asyncio.to_thread(server.restart)


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """SIGSTOP all its processes for the block."""
    postmaster = server.postmaster
    os.kill(postmaster, signal.SIGSTOP)  # first, so that it starts no others
    processes = [postmaster, *(pid for pid, parent in running_processes().items() if parent == postmaster)]
    try:
        _signal_all(processes[1:], signal.SIGSTOP)
        yield
    finally:
        _signal_all(processes[::-1], signal.SIGCONT)


def _signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)

"""A limit to how long a server may keep a call waiting.

A network that swallows everything, or a server that is frozen, leaves a connection open on which nothing ever comes.
The kernel finds out only when it has something to send, and not at all where the other end still acknowledges.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from psycopg import AsyncConnection, OperationalError

_log: Final = logging.getLogger("eventstore")


class Deadline:
    """Shuts a connection down that is still in the block after so many seconds; the driver then finds it lost.

    The server is not asked to cancel: it would answer the cancelling of a commit that waits for a standby with success,
    https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION-HA. Nor is the task cancelled: the
    driver would wait for the server's answer to that.
    """

    __slots__ = ("_connection", "_seconds", "_timer", "has_passed")

    def __init__(self, connection: AsyncConnection, seconds: float) -> None:
        """0 seconds are no limit."""
        self._connection = connection
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.has_passed = False

    def __enter__(self) -> Self:
        if self._seconds:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._shut_down)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.has_passed and isinstance(error, OperationalError):
            raise OperationalError(f"it has not answered for {self._seconds:g} seconds") from error

    def _shut_down(self) -> None:
        self.has_passed = True
        _log.warning("Postgres has not answered for %g seconds: its connection is dropped", self._seconds)
        # The descriptor stays open, and the driver's own, which is told that the other side has hung up.
        with suppress(OSError, OperationalError):
            handle = socket.socket(fileno=os.dup(self._connection.pgconn.socket))
            with handle:
                handle.shutdown(socket.SHUT_RDWR)

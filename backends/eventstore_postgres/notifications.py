"""Telling the other stores on a schema that something was committed, and being told, by LISTEN and NOTIFY.

Never in the transaction that appends: a transaction that notifies takes a lock of the whole cluster until its commit is
flushed, so all such commits would stand in one line. A notification is a hint, without a payload; whoever misses one,
through PgBouncer say, finds what was committed by a slow poll.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from hashlib import sha256
from typing import Final

import psycopg
from psycopg import AsyncConnection, sql

from eventstore.errors import EventStoreError
from eventstore.watching import Nudge
from eventstore_postgres.deadlines import Deadline
from eventstore_postgres.settled import Connect

_log: Final = logging.getLogger("eventstore")

_PAUSE: Final = 0.02
"""Seconds between two notifications of one store, at least; what is committed meanwhile shares the next one."""

_SILENCE: Final = 30.0
"""Seconds without a notification after which the connection is asked whether it is still there."""

_ANSWER: Final = 5.0
_RECONNECT: Final = 1.0


class Notifications:
    """Those of one store; its channel is named for the schema."""

    def __init__(self, conninfo: str, schema: str, connected: Connect) -> None:
        self._conninfo = conninfo
        self._connected = connected
        channel = sql.Identifier(f"eventstore_{sha256(schema.encode()).hexdigest()[:16]}")
        self._listen = sql.SQL("LISTEN {}").format(channel)
        # Nothing is lost with it, so it need not wait for the disk.
        self._notify = sql.SQL("BEGIN; SET LOCAL synchronous_commit = off; NOTIFY {}; COMMIT").format(channel)
        self._is_due = False
        self._closing = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Tell the others soon, from a task of its own."""
        self._is_due = True
        if self._telling is None and not self._closing.is_set():
            self._telling = asyncio.create_task(self._tell(), name="eventstore notify")

    async def close(self) -> None:
        """Tell what is still to be told."""
        self._closing.set()
        if self._telling is not None:
            await asyncio.wait([self._telling])

    async def _tell(self) -> None:
        try:
            while self._is_due:
                self._is_due = False
                async with self._connected() as connection:
                    with Deadline(connection, _ANSWER):
                        await connection.execute(self._notify)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._closing.wait()
        except EventStoreError as error:
            _log.debug("other stores could not be notified, and will find out by themselves: %s", error)
        finally:
            self._telling = None

    async def listen(self, nudge: Nudge) -> None:
        """Call `nudge` when another store tells, and when something may have been missed; connect again for ever."""
        while True:
            try:
                async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    with Deadline(connection, _ANSWER):
                        await connection.execute(self._listen)
                    await self._hear(connection, nudge)
            except (psycopg.Error, OSError) as error:
                _log.debug("no notifications for now: %s", error)
            await asyncio.sleep(_RECONNECT)

    async def _hear(self, connection: AsyncConnection, nudge: Nudge) -> None:
        while True:
            nudge()
            async for _ in connection.notifies(timeout=_SILENCE):
                nudge()
            with Deadline(connection, _ANSWER):
                await connection.execute("SELECT")

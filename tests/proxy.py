"""A TCP proxy between a store and its server that disturbs connections at a chosen moment.

`Moment.REQUEST` is before the server has a statement; `Moment.REPLY` is after it has begun to answer, so that the
statement has taken effect if it commits by itself, and before the client knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import TracebackType
from typing import Self


class Moment(Enum):
    """What a fault waits for."""

    REQUEST = "the client sends something"
    REPLY = "the server answers"


class Fault(Enum):
    """What is done to a connection."""

    CUT = "closed to both sides"
    SILENCE = "kept open, and nothing is forwarded any more, either way"


class Proxy:
    """Forwards connections to one port of 127.0.0.1, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        """Where new connections go."""
        self.delay = 0.0
        """Seconds that each chunk is held up, either way."""
        self.refused = 0
        """How many connections were closed at once, because nobody listened there."""
        self.cuts = 0
        """How many connections were cut."""
        self.silenced = 0
        """How many connections were silenced."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self._planned: list[tuple[Moment, Fault, bytes]] = []
        self._silences_new_ones = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections:
            connection.close()

    def to(self, url: str) -> str:
        """Return the URL of a server on 127.0.0.1 with the proxy's port in place of its own."""
        return url.replace(f":{self.target_port}/", f":{self.port}/")

    # --- Faults --------------------------------------------------------------------------------------------------

    def plan(self, moment: Moment, fault: Fault, times: int = 1, *, of: bytes = b"") -> None:
        """Do this the next times that the moment comes, in place of what was planned for it.

        `of`: only with statements that have this text in them, or in their parameters.
        """
        self._planned = [plan for plan in self._planned if plan[0] is not moment]
        self._planned += [(moment, fault, of)] * times

    def lose_next_replies(self, times: int = 1) -> None:
        """Let the next requests through, and cut each connection when the server answers."""
        self.plan(Moment.REPLY, Fault.CUT, times)

    def lose_next_requests(self, times: int = 1) -> None:
        """Cut the connection when the client sends its next requests, before they are forwarded."""
        self.plan(Moment.REQUEST, Fault.CUT, times)

    def cut(self) -> None:
        """Cut all connections there are; new ones are let through."""
        self.cuts += 1
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def silence(self) -> None:
        """Silence all connections there are, for good; new ones are let through."""
        for connection in self._connections:
            self._silence(connection)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Silence all connections there are, and all that are made in the block: the network swallows everything."""
        self.silence()
        self._silences_new_ones = True
        try:
            yield
        finally:
            self._silences_new_ones = False

    def _silence(self, connection: _Connection) -> None:
        self.silenced += not connection.is_silent
        connection.is_silent = True

    # --- Forwarding ----------------------------------------------------------------------------------------------

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            self.refused += 1
            client_writer.close()
            return
        connection = _Connection(client_writer, server_writer)
        self._connections.add(connection)
        if self._silences_new_ones:
            self._silence(connection)
        for reader, writer, moment in (
            (client_reader, server_writer, Moment.REQUEST),
            (server_reader, client_writer, Moment.REPLY),
        ):
            task = asyncio.create_task(self._forward(reader, writer, connection, moment))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection, moment: Moment
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if moment is Moment.REQUEST:
                    connection.request = chunk
                fault = self._due(moment, connection) if not connection.is_silent else None
                if fault is Fault.CUT:
                    self.cuts += 1
                    break
                if fault is Fault.SILENCE:
                    self._silence(connection)
                # Still read from when it is silent, as a network takes what it loses.
                if not connection.is_silent:
                    writer.write(chunk)
                    await writer.drain()
        # The end of one side does not reach the other either: a server knows nothing of a client that went silent.
        if not connection.is_silent:
            self._connections.discard(connection)
            connection.close()

    def _due(self, moment: Moment, connection: _Connection) -> Fault | None:
        """Take the next fault that was planned for a moment."""
        for number, (planned, fault, text) in enumerate(self._planned):
            if planned is moment and text in connection.request:
                del self._planned[number]
                return fault
        return None


class _Connection:
    """Both ends of what is forwarded."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.is_silent = False
        self.request = b""

    def close(self) -> None:
        for writer in self.writers:
            with suppress(OSError, RuntimeError):
                writer.close()

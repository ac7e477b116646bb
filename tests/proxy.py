"""A TCP proxy between a store and its server that loses connections at a chosen moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards connections to one port of 127.0.0.1, until told to cut."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_at_reply = 0
        self._cut_at_request = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts = 0

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

    def lose_next_replies(self, times: int = 1) -> None:
        """Let the next requests through, and cut each connection when the server answers."""
        self._cut_at_reply = times

    def lose_next_requests(self, times: int = 1) -> None:
        """Cut the connection when the client sends its next requests, before they are forwarded."""
        self._cut_at_request = times

    def cut(self) -> None:
        """Cut all connections there are; new ones are let through."""
        self.cuts += 1
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        writers = (client_writer, server_writer)
        self._writers.update(writers)
        for reader, writer, is_reply in (
            (client_reader, server_writer, False),
            (server_reader, client_writer, True),
        ):
            task = asyncio.create_task(self._forward(reader, writer, writers, is_reply=is_reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        writers: tuple[asyncio.StreamWriter, ...],
        *,
        is_reply: bool,
    ) -> None:
        try:
            while chunk := await reader.read(65536):
                if self._is_to_cut(is_reply=is_reply):
                    self.cuts += 1
                    break
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.difference_update(writers)
            for each in writers:
                with suppress(OSError, RuntimeError):
                    each.close()

    def _is_to_cut(self, *, is_reply: bool) -> bool:
        if is_reply and self._cut_at_reply:
            self._cut_at_reply -= 1
            return True
        if not is_reply and self._cut_at_request:
            self._cut_at_request -= 1
            return True
        return False

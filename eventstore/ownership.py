"""Where a store was opened: nobody but that process and that event loop can use its connections."""

from __future__ import annotations

import asyncio
import os


class Owner:
    """The process and the event loop that are running now.

    Connections, locks and tasks of asyncio belong to one loop: used from another one, or from another thread, they wait
    for ever. What a forked child does to the sockets and files that it inherits, it does to its parent's.
    """

    __slots__ = ("_loop", "_process")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()

    def is_here(self) -> bool:
        """Tell whether the caller runs in that process and in that loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        # A loop may be run on by a forked child.
        return loop is self._loop and os.getpid() == self._process

    def is_another_process(self) -> bool:
        """Tell whether the caller runs in another process: a child that was forked."""
        return os.getpid() != self._process

"""The one thread that writes: LMDB ties a write transaction to its thread, and has one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

import lmdb

from eventstore.cancellation import uninterrupted
from eventstore_lmdb.environments import SharedEnvironment
from eventstore_lmdb.failures import failures_of
from eventstore_lmdb.tables import Tables, keep_last_position, last_position

T = TypeVar("T")

Write: TypeAlias = Callable[["lmdb.Transaction[bytes]"], T]


class _LeftAloneError(Exception):
    """The caller has left before the work began."""


async def write(shared: SharedEnvironment, work: Write[T]) -> T:
    """Run `work` in a transaction of its own.

    Cancelled before the work has begun, it never begins, even if its transaction is yet to wait for that of another
    process; cancelled later, it is waited for.
    """
    begun = threading.Lock()

    def call() -> T:
        with shared.opened.begin(write=True) as txn:
            if not begun.acquire(blocking=False):
                raise _LeftAloneError  # rolls back; nobody waits for the result
            return work(txn)

    future = shared.writer.start(call)
    outcome = asyncio.wrap_future(future)
    # Looked at even if the caller has left, so that asyncio does not report a failure as never seen.
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait([outcome])
    except asyncio.CancelledError:
        if not future.cancel() and not begun.acquire(blocking=False):
            await uninterrupted(asyncio.wait([outcome]))
        raise
    with failures_of(shared):
        return outcome.result()


@asynccontextmanager
async def transaction(shared: SharedEnvironment) -> AsyncIterator[Conversation]:
    """Hold a transaction open: commit it on a clean exit, roll it back on an exception."""
    conversation = Conversation(shared)
    future = shared.writer.start(conversation.carry_out)
    try:
        with failures_of(shared):
            await conversation.begin()
    except BaseException:
        conversation.end(commit=False)
        raise
    try:
        yield conversation
    except BaseException:
        conversation.end(commit=False)
        with failures_of(shared):
            await uninterrupted(_result(future))
        raise
    conversation.end(commit=True)
    with failures_of(shared):
        await uninterrupted(_result(future))


class Conversation:
    """A transaction that its caller holds open: it keeps the thread and carries out one call after the other."""

    def __init__(self, shared: SharedEnvironment) -> None:
        self._shared = shared
        self._begun: Future[None] = Future()
        self._calls: SimpleQueue[Callable[[lmdb.Transaction[bytes]], None] | None] = SimpleQueue()
        self._is_to_commit = False

    @property
    def tables(self) -> Tables:
        """The tables to work on."""
        return self._shared.tables

    async def begin(self) -> None:
        """Wait until it is this transaction's turn."""
        await asyncio.wrap_future(self._begun)

    async def read(self, work: Write[T]) -> T:
        """Run `work` in the transaction."""
        with failures_of(self._shared):
            return await asyncio.wrap_future(self._ask(work))

    async def write(self, work: Write[T]) -> T:
        """Run `work` in the transaction, wholly or not at all."""

        def write_all(txn: lmdb.Transaction[bytes]) -> T:
            with self._shared.opened.begin(parent=txn, write=True) as part:
                return work(part)

        with failures_of(self._shared):
            return await uninterrupted(_result(self._ask(write_all)))

    def end(self, *, commit: bool) -> None:
        """Let the thread go, once the calls before have been carried out."""
        self._is_to_commit = commit
        self._calls.put(None)

    def carry_out(self) -> None:
        """Be the transaction; runs in the thread."""
        if not self._begun.set_running_or_notify_cancel():
            return
        try:
            outer = self._shared.opened.begin(write=True)
        except BaseException as error:
            self._begun.set_exception(error)
            return
        with outer:
            txn = self._shared.opened.begin(parent=outer, write=True)
            self._begun.set_result(None)
            while (call := self._calls.get()) is not None:
                call(txn)
            if self._is_to_commit:
                txn.commit()
                return
            # The positions that the caller was told are void from now on: nobody else may be told them.
            drawn = last_position(txn, self.tables)
            txn.abort()
            if drawn > last_position(outer, self.tables):
                keep_last_position(outer, self._shared.tables, drawn)

    def _ask(self, work: Write[T]) -> Future[T]:
        answer: Future[T] = Future()

        def call(txn: lmdb.Transaction[bytes]) -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(work(txn))
                except BaseException as error:
                    answer.set_exception(error)

        self._calls.put(call)
        return answer


async def _result(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)

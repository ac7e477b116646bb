"""The settled log: readers never pass a position below which an event may yet appear, and writers pay nothing for it.

`BIGSERIAL` draws a position before its transaction commits, so a slow append can become visible below a position that a
reader has passed. The argument that it is never passed here:

1. An INSERT takes a `RowExclusiveLock` on the events table before it draws its first position, and `pg_locks` lists the
   lock until the transaction is visible or rolled back: a commit shows its rows first and drops its locks then.
   (Listing reads each backend's own slots before the shared table, and a lock only ever moves from the former to the
   latter, so a lock that is held all the while is not missed.)
2. Positions are drawn one by one in growing order (`CACHE 1`, checked when the store opens). So once an event at
   position T is visible, whoever owns a position below T has drawn it already.
3. Read T, the highest visible position, **then** list the transactions that hold the lock. An owner of a position up to
   T has ended, and then its events are visible to the next snapshot, or it is in the list. When all in the list have
   ended, everything up to T is settled: what is missing there was rolled back, or removed, and will never come.
4. A run of visible positions without a hole, beginning at a settled one, needs no list.
5. A page is judged by a mark that was settled before the page's snapshot was taken: never by a later one.

T is a visible event's position and not the sequence's `last_value`. A sequence is not crash-safe by itself: values that
only rolled-back transactions drew may be drawn again after a crash, and a bookmark up there would hide what then gets
them. A visible event's commit has flushed the sequence's state with it (with `synchronous_commit` on).

A prepared transaction stays in the list under its id, but after a restart of the server it comes back under another;
and after a fail-over another server answers, which may lack events that were seen. So what is known is forgotten
when the server turns out to be another, or to have been started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from psycopg import AsyncConnection

from eventstore.backend import Direction, LogPage
from eventstore.errors import StoreUnavailable
from eventstore.events import RecordedEvent
from eventstore.filters import Filter
from eventstore_postgres.fetching import fetch, fetch_in_index_order
from eventstore_postgres.filtering import filter_conditions, walks_an_index
from eventstore_postgres.queries import Queries
from eventstore_postgres.rows import recorded_event

_FIRST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 0.025


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


class _Check(NamedTuple):
    """A round of step 3: all up to `top` is settled when every transaction in `awaited` has ended."""

    top: int
    awaited: frozenset[str]


class SettledLog:
    """Reads the log of one store; shared by all its readers, so that old holes cost one check, not one each."""

    def __init__(self, queries: Queries, settle_timeout: float, connected: Connect) -> None:
        """`settle_timeout`: how many seconds a read waits at a hole for the appends in flight before it ends there.

        `connected` lends a connection; none is kept while a read waits.
        """
        self._queries = queries
        self._settle_timeout = settle_timeout
        self._connected = connected
        self._mark = 0
        self._check: _Check | None = None
        self._server_start: datetime | None = None
        # A list of appenders older than the check that it is held against would show them ended before they began.
        self._observing = asyncio.Lock()
        self._begun = self._done = self._top = 0

    async def read(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        """Return a page of the log as `Backend.read_all` describes it."""
        if direction is Direction.BACKWARD:
            return await self._read_backward(start, limit, filter)
        if filter is None:
            return await self._read_forward(start or 0, limit)
        return await self._read_filtered(start or 0, limit, filter)

    async def head(self) -> int:
        """Return the highest position that may be bookmarked, having waited a little for the appends in flight."""
        await self._settle(await self._observe())
        return self._mark

    async def look(self) -> tuple[int, bool]:
        """Return the highest position that may be bookmarked, and whether that is all that is visible."""
        top = await self._observe()
        if self._mark < top:
            await self._pass_run()
        return self._mark, self._mark >= top

    # --- Pages ---------------------------------------------------------------------------------------------------

    async def _read_forward(self, start: int, limit: int) -> LogPage:
        while True:
            # Noted before the events are read: a mark that another reader moves meanwhile may cover what they miss.
            mark = self._mark
            events = await self._select(start, None, limit, Direction.FORWARD, None)
            settled = self._settled_part(events, start, mark)
            if settled:
                # The next page begins at the hole, if there is one: what lies before it does not wait.
                at_end = len(settled) == len(events) < limit
                return LogPage(settled, settled[-1].global_position, at_end)
            if not events or not await self._settle(events[0].global_position):
                return LogPage([], start if events else max(start, mark), at_end=True)

    def _settled_part(self, events: list[RecordedEvent], start: int, mark: int) -> list[RecordedEvent]:
        run_end = events[-1].global_position if events else start
        if run_end > mark + 1 and run_end != start + len(events):
            # Neither below the mark nor without a hole: it may end within the page.
            run_end = start
            for number, event in enumerate(events):
                if event.global_position > max(mark, run_end) + 1:
                    return events[:number]
                run_end = event.global_position
        if start <= mark:
            self._raise_mark(mark, run_end)
        return events

    async def _read_filtered(self, start: int, limit: int, filter: Filter) -> LogPage:
        bound = self._mark
        looks_afresh = bound <= start
        if looks_afresh:
            top = await self._observe()
            await self._settle(top)
            bound = self._mark
            if bound < top:
                bound = max(bound, await self._run_end(start))
            if bound <= start:
                return LogPage([], start, at_end=True)
        events = await self._select(start, bound, limit, Direction.FORWARD, filter)
        if len(events) == limit:
            return LogPage(events, events[-1].global_position, at_end=False)
        return LogPage(events, bound, at_end=looks_afresh)

    async def _read_backward(self, start: int | None, limit: int, filter: Filter | None) -> LogPage:
        bound = self._mark
        if start is None or start > bound:
            bound = await self.head()
        below = bound + 1 if start is None else min(start, bound + 1)
        events = await self._select(below, None, limit, Direction.BACKWARD, filter)
        at_end = len(events) < limit
        return LogPage(events, 0 if at_end else events[-1].global_position, at_end)

    async def _select(
        self,
        start: int,
        up_to: int | None,
        limit: int,
        direction: Direction,
        filter: Filter | None,
    ) -> list[RecordedEvent]:
        query = self._queries["read_all_forward" if direction is Direction.FORWARD else "read_all_backward"]
        parameters: dict[str, object] = {"start": start, "limit": limit}
        if up_to is not None:
            query += b"AND global_position <= %(up_to)s\n"
            parameters["up_to"] = up_to
        conditions, values = filter_conditions(filter)
        query += conditions + self._queries["oldest_first" if direction is Direction.FORWARD else "newest_first"]
        read = fetch_in_index_order if walks_an_index(filter) else fetch
        async with self._connected() as connection:
            if connection.info.parameter_status("in_hot_standby") == "on":
                raise _standby()
            rows = await read(connection, query, parameters | values)
        return [recorded_event(row) for row in rows]

    # --- Settling ------------------------------------------------------------------------------------------------

    async def _settle(self, position: int) -> bool:
        """Wait until everything up to a visible position is settled; return False if it takes longer than we wait."""
        wait = _FIRST_WAIT
        deadline = asyncio.get_running_loop().time() + self._settle_timeout
        while self._mark < position:
            await self._observe()
            if self._mark >= position:
                break
            if asyncio.get_running_loop().time() >= deadline:
                await self._pass_run()
                break
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        return self._mark >= position

    async def _observe(self) -> int:
        """Read the top and then list who appends; move the mark if that settles anything; return the top.

        Whoever asks while others do takes what one of them finds, if that one has begun after the question.
        """
        begun = self._begun
        async with self._observing:
            if self._done <= begun:
                self._begun += 1
                async with self._connected() as connection:
                    await self._observe_on(connection)
                self._done = self._begun
            return self._top

    async def _observe_on(self, connection: AsyncConnection) -> None:
        ((top, server_start, in_recovery),) = await fetch(connection, self._queries["top"], {})
        if in_recovery:
            raise _standby()
        if server_start != self._server_start:
            self._mark, self._check, self._server_start = 0, None, server_start
        rows = await fetch(connection, self._queries["appenders"], {"table": self._queries.qualified("events")})
        self._note(top, frozenset(transaction for (transaction,) in rows))
        self._top = int(top)

    def _note(self, top: int, appenders: frozenset[str]) -> None:
        if self._check is not None:
            self._check = self._check._replace(awaited=self._check.awaited & appenders)
            if not self._check.awaited:
                self._mark = max(self._mark, self._check.top)
                self._check = None
        if not appenders:
            self._mark = max(self._mark, top)
            self._check = None
        elif self._check is None:
            self._check = _Check(top, appenders)
        # The log of a store that was restored ends below: what comes is not settled.
        if top < self._mark:
            self._mark, self._check = 0, None

    def _raise_mark(self, mark: int, position: int) -> None:
        """Move the mark to the end of a run that begins at `mark`, unless that was taken back meanwhile."""
        if self._mark >= mark:
            self._mark = max(self._mark, position)

    async def _pass_run(self) -> None:
        """Move the mark to the end of the run of visible positions that begins there."""
        mark = self._mark
        self._raise_mark(mark, await self._run_end(mark))

    async def _run_end(self, after: int) -> int:
        async with self._connected() as connection:
            ((end,),) = await fetch(connection, self._queries["run_end"], {"after": after})
        return int(end)


def _standby() -> StoreUnavailable:
    return StoreUnavailable(
        "this Postgres server is a standby: it does not see the appends in flight on the primary, so the log cannot be "
        "read here; connect to the primary (target_session_attrs=read-write)"
    )

"""Storing the events of an export, many in one commit, and passing those that are stored already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from eventstore.backend import Conflict, Direction, RestoredEvent, StreamState
from eventstore.errors import ImportConflict, InvalidExport
from eventstore.events import RecordedEvent, canonical_json, decode_json
from eventstore.moving.checking import Checked
from eventstore.moving.positions import Positions

if TYPE_CHECKING:
    from eventstore.store import EventStore

MOST_EVENTS: Final = 1_000
_MOST_BYTES: Final = 4 * 2**20
"""So much is stored at a time."""

_TRIES: Final = 5
"""How often events are tried that nothing seems to stand against: others may have been at work."""


class _Waiting(NamedTuple):
    """An event to be stored, its line, and its position in the store it comes from."""

    line: int
    there: int
    event: RestoredEvent


class Placing:
    """The way of events into a store, in their order."""

    def __init__(self, store: EventStore, checked: Checked, positions: Positions) -> None:
        self.stored = 0
        self.already_stored = 0
        self._store = store
        self._checked = checked
        self._positions = positions
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        # Of those in hand.
        self._last: dict[str, RestoredEvent] = {}
        self._ids: set[UUID] = set()

    def add(self, line: int, there: int, event: RestoredEvent) -> bool:
        """Take an event in; tell whether it is time to `flush`.

        Raises `InvalidExport` for one that a sound file does not have here: a backend relies on it.
        """
        before = self._last.get(event.stream_id)
        does_follow = before is None or (before.version + 1 == event.version and before.created_at <= event.created_at)
        if not does_follow or event.event.event_id in self._ids:
            raise InvalidExport(line, "the file was changed while it was imported; import it again")
        self._last[event.stream_id] = event
        self._ids.add(event.event.event_id)
        self._waiting.append(_Waiting(line, there, event))
        self._bytes += len(event.event.data) + len(event.event.metadata)
        return len(self._waiting) == MOST_EVENTS or self._bytes >= _MOST_BYTES

    async def flush(self) -> int | None:
        """Store what was taken in; return the position there of the last one, None if there was none.

        Raises `ImportConflict`.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        self._last.clear()
        self._ids.clear()
        placed = await self._place(waiting)
        for line, there, event in waiting:
            here = placed[event.event.event_id]
            if here <= self._positions.last:
                raise ImportConflict(line, "its events stand in another order in this store", stream_id=event.stream_id)
            self._positions.add(there, here)
        return waiting[-1].there if waiting else None

    async def _place(self, waiting: list[_Waiting]) -> dict[UUID, int]:
        """Store events, but for those that are stored; return the positions of all of them, by their ids."""
        placed: dict[UUID, int] = {}
        tries = 0
        while waiting:
            events = [it.event for it in waiting]
            outcome = await self._store._repeatable(self._store._backend.restore, events)
            if not isinstance(outcome, Conflict):
                self.stored += len(events)
                placed.update((event.event.event_id, here) for event, here in zip(events, outcome, strict=True))
                break
            self._check_not_deleted(waiting, outcome)
            if not outcome.stored:
                tries += 1
                await self._explain(waiting, outcome, tries)
            found = {event.event_id: event for event in outcome.stored}
            _check_same(waiting, found)
            placed.update((event_id, event.global_position) for event_id, event in found.items())
            waiting = [it for it in waiting if it.event.event.event_id not in found]
            self.already_stored += len(found)
        return placed

    def _check_not_deleted(self, waiting: list[_Waiting], conflict: Conflict) -> None:
        for state, (line, _, event) in _states(waiting, conflict):
            stream = self._checked.streams.get(event.stream_id)
            if state.deleted and (stream is None or not stream.deleted):
                raise deleted_here(line, event.stream_id)

    async def _explain(self, waiting: list[_Waiting], conflict: Conflict, tries: int) -> None:
        """Raise why nothing was stored, unless the reason may have gone meanwhile."""
        for state, (line, _, event) in _states(waiting, conflict):
            if state.deleted:
                raise deleted_here(line, event.stream_id)
            if state.version != event.version - 1:
                raise ImportConflict(
                    line,
                    f"stream {event.stream_id!r} is at version {state.version} here, and the export goes on with "
                    f"version {event.version}, which is not stored",
                    stream_id=event.stream_id,
                )
            if tries == _TRIES:
                await self._check_time(line, event)
        if tries == _TRIES:
            raise ImportConflict(
                waiting[0].line,
                "nothing that is left here tells why it is refused: others write to the same streams all the time, or "
                "an event that was truncated here was of a later time",
            )

    async def _check_time(self, line: int, event: RestoredEvent) -> None:
        for last in await self._store._stream_page(event.stream_id, None, 1, Direction.BACKWARD):
            if last.created_at > event.created_at:
                raise ImportConflict(
                    line,
                    f"stream {event.stream_id!r} has an event here of a later time than version {event.version}",
                    stream_id=event.stream_id,
                )


def _states(waiting: list[_Waiting], conflict: Conflict) -> Iterable[tuple[StreamState, _Waiting]]:
    """Pair the streams of a conflict with their first events."""
    firsts: dict[str, _Waiting] = {}
    for it in waiting:
        firsts.setdefault(it.event.stream_id, it)
    return zip(conflict.streams, firsts.values(), strict=True)


def deleted_here(line: int, stream_id: str) -> ImportConflict:
    """Return the error for a stream that is deleted in the store, and not in the export."""
    reason = f"stream {stream_id!r} is deleted in this store, and its id stays taken"
    return ImportConflict(line, reason, stream_id=stream_id)


def _check_same(waiting: list[_Waiting], found: dict[UUID, RecordedEvent]) -> None:
    for line, _, event in waiting:
        stored = found.get(event.event.event_id)
        if stored is not None and not _is_same(event, stored):
            raise ImportConflict(
                line,
                f"event {stored.event_id} is in this store already, as version {stored.version} of stream "
                f"{stored.stream_id!r}, and is not the same",
                stream_id=event.stream_id,
            )


def _is_same(event: RestoredEvent, stored: RecordedEvent) -> bool:
    return (
        event.stream_id == stored.stream_id
        and event.version == stored.version
        and event.created_at == stored.created_at
        and event.event.event_type == stored.event_type
        and canonical_json(decode_json(event.event.data)) == canonical_json(stored.data)
        and canonical_json(decode_json(event.event.metadata)) == canonical_json(stored.metadata)
    )

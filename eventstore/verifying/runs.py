"""Streams as they are read by version: each as one run of events, beside what else is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from eventstore.backend import EncodedSnapshot, Place, StreamInfo


class Run:
    """The events of one stream, so far."""

    __slots__ = ("created_at", "first", "is_sound", "last", "last_settled", "position", "stream_id")

    def __init__(self, place: Place, head: int) -> None:
        self.stream_id = place.stream_id
        self.first = place.version
        self.last_settled = 0
        """The last version up to the head."""

        self.is_sound = True
        """Whether versions follow each other, and positions and times, too."""

        self._take(place, head)

    def add(self, place: Place, head: int) -> None:
        """Take the next event."""
        if (
            place.version != self.last + 1
            or place.global_position <= self.position
            or place.created_at < self.created_at
        ):
            self.is_sound = False
        self._take(place, head)

    def _take(self, place: Place, head: int) -> None:
        self.last = place.version
        self.position = place.global_position
        self.created_at = place.created_at
        if place.global_position <= head:
            self.last_settled = place.version


def looks_wrong(info: StreamInfo | None, run: Run | None) -> bool:
    """Tell whether a stream is to be looked at again: what is listed and what was read do not fit together."""
    if run is None:
        return info is not None and info.first_version <= info.version
    if info is None:
        # Or it came into being after it could be listed.
        return run.last_settled > 0
    return (
        not run.is_sound
        or run.first != info.first_version
        or run.last < info.version
        or run.last_settled > info.version
        or (info.deleted and run.last > info.version)
    )


class _OfAStream(Protocol):
    @property
    def stream_id(self) -> str: ...


ItemT = TypeVar("ItemT", bound=_OfAStream)


async def side_by_side(
    infos: AsyncIterator[StreamInfo], runs: AsyncIterator[Run], snapshots: AsyncIterator[EncodedSnapshot]
) -> AsyncIterator[tuple[str, StreamInfo | None, Run | None, EncodedSnapshot | None]]:
    """Yield what there is of each stream; all three come by stream id."""
    info, run, snapshot = await _next(infos), await _next(runs), await _next(snapshots)
    while ids := [item.stream_id for item in (info, run, snapshot) if item is not None]:
        least = min(ids)
        its_info = info if info is not None and info.stream_id == least else None
        its_run = run if run is not None and run.stream_id == least else None
        its_snapshot = snapshot if snapshot is not None and snapshot.stream_id == least else None
        yield least, its_info, its_run, its_snapshot
        info = info if its_info is None else await _next(infos)
        run = run if its_run is None else await _next(runs)
        snapshot = snapshot if its_snapshot is None else await _next(snapshots)


async def _next(items: AsyncIterator[ItemT]) -> ItemT | None:
    return await anext(items, None)

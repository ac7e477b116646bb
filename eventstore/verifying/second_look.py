"""The second look of `verify`: the log once more for all that looked wrong, and then each such stream by itself."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from eventstore.backend import Direction, LogPage, Place, StreamInfo
from eventstore.events import RecordedEvent
from eventstore.verifying.judging import Evidence, problems_of
from eventstore.verifying.records import ProblemKind
from eventstore.verifying.scanning import Scan
from eventstore.verifying.tallies import EventIds, TwoReadings

MOST_SUSPECTS: Final = 10_000
"""So many streams are looked at again, at most."""


class Suspects:
    """The streams that looked wrong."""

    def __init__(self) -> None:
        self.stream_ids: set[str] = set()
        self.passed_over = 0

    def add(self, stream_id: str) -> None:
        """Note a stream, or only count it where there are too many."""
        if len(self.stream_ids) < MOST_SUSPECTS:
            self.stream_ids.add(stream_id)
        elif stream_id not in self.stream_ids:
            self.passed_over += 1


async def look_again(scan: Scan, suspects: Suspects, readings: TwoReadings, ids: EventIds) -> None:
    """Report what is broken for certain; without any suspicion it reads nothing."""
    repeated = ids.repeated()
    # What could not be read by one of the two ways is no difference.
    differ = scan.is_whole and not readings.agree
    if not (suspects.stream_ids or differ or repeated):
        return
    if differ:
        async for info in scan.streams():
            if readings.differ_on(info.stream_id):
                suspects.add(info.stream_id)
    in_log: dict[str, list[Place]] = {stream_id: [] for stream_id in suspects.stream_ids}
    by_id: dict[UUID, list[RecordedEvent]] = {}
    async for events in scan.log("second look"):
        for event in events:
            if event.stream_id in in_log:
                in_log[event.stream_id].append(_place(event))
            elif differ and len(in_log) < MOST_SUSPECTS and readings.differ_on(event.stream_id):
                in_log[event.stream_id] = [_place(event)]
            if repeated and hash(event.event_id.int) in repeated:
                by_id.setdefault(event.event_id, []).append(event)
    for first, *others in by_id.values():
        _report_repeated(scan, first, others)
    for stream_id in sorted(in_log):
        await _judge(scan, stream_id, in_log[stream_id])
    if suspects.passed_over:
        detail = f"{suspects.passed_over:,} more streams looked wrong, and were not looked at again"
        scan.report(ProblemKind.NOT_LOOKED_AT, detail)


def _place(event: RecordedEvent) -> Place:
    return Place(event.stream_id, event.version, event.global_position, event.created_at)


def _report_repeated(scan: Scan, first: RecordedEvent, others: list[RecordedEvent]) -> None:
    for event in others:
        scan.report(
            ProblemKind.EVENT_ID,
            f"the event at position {first.global_position} has its id, {event.event_id}, too",
            stream_id=event.stream_id,
            version=event.version,
            global_position=event.global_position,
        )


async def _judge(scan: Scan, stream_id: str, in_log: list[Place]) -> None:
    backend, call = scan.backend, scan.call
    before = await call(backend.stream_info, stream_id)
    listed = await call(backend.list_streams, None, stream_id, None, 1, include_deleted=True)
    in_stream: list[Place] = []
    failures = scan.failures
    async for place in scan.places((stream_id, 0), max(100, len(in_log) + 1)):
        if place.stream_id != stream_id:
            break
        in_stream.append(place)
    if scan.failures > failures:
        return
    after = await call(backend.stream_info, stream_id)
    evidence = Evidence(
        stream_id,
        min(scan.head, scan.read_to),
        scan.unreadable,
        in_log,
        before,
        # The first whose id begins so is the stream itself.
        next((info for info in listed if info.stream_id == stream_id), None),
        in_stream,
        after,
        await _still_in_log(scan, in_log, after),
    )
    for problem in problems_of(evidence):
        scan.findings.add(problem)


async def _still_in_log(scan: Scan, in_log: list[Place], info: StreamInfo | None) -> Place | None:
    below = [place for place in in_log if info is not None and place.version < info.first_version]
    if not below:
        return None
    position = below[-1].global_position
    page = await scan.read_all(position - 1, 1, Direction.FORWARD)
    found = isinstance(page, LogPage) and any(event.global_position == position for event in page.events)
    return below[-1] if found else None

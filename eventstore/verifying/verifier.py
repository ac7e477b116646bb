"""The engine of `EventStore.verify`: reads everything once, and what looks wrong a second time before it is reported.

The log is read up to the head that was settled at the beginning: up to there no event comes any more. Then the same
events are read by their streams, beside the list of streams and the snapshots, all of them in the order of the stream
ids, so that nothing need be kept of a stream; `tallies.TwoReadings` tells whether both readings found the same.

Others may append, truncate and delete meanwhile. So what is found of a stream is a suspicion at first, and `judging`
decides. What is found of a single event is certain at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from eventstore.backend import Backend, Capability, Direction, EncodedSnapshot, LogPage, StreamInfo
from eventstore.events import RecordedEvent, decode_json, stream_type_of
from eventstore.ledger import PARKED, PARTITION, SETTINGS, WORKER, Parked, Partition, Settings, WorkerEntry
from eventstore.progress import ProgressCallback
from eventstore.retries import Call
from eventstore.verifying.records import Findings, Problem, ProblemKind, Verification
from eventstore.verifying.runs import Run, looks_wrong, side_by_side
from eventstore.verifying.scanning import LOOKS_AT_HEAD, PASSING, Scan
from eventstore.verifying.second_look import Suspects, look_again
from eventstore.verifying.tallies import EventIds, TwoReadings

_EVENTS_BETWEEN: Final = 10_000
"""So many events of streams are read between two calls that tell the progress."""

_ENTRIES: Final[dict[str, type[Settings | Partition | WorkerEntry | Parked]]] = {
    SETTINGS: Settings,
    PARTITION: Partition,
    WORKER: WorkerEntry,
    PARKED: Parked,
}


class Verifier:
    """One verification of a store."""

    def __init__(self, backend: Backend, call: Call, most_problems: int, progress: ProgressCallback | None) -> None:
        self._findings = Findings(most_problems)
        self._scan = Scan(backend, call, self._findings, progress)
        self._events = self._streams = self._snapshots = self._checkpoints = self._entries = 0
        self._highest = 0
        self._ids = EventIds()
        self._readings = TwoReadings(0)
        self._suspects = Suspects()
        self._beyond: list[Problem] = []

    async def run(self) -> Verification:
        """Look at everything."""
        await self._find_head()
        self._readings = TwoReadings(self._scan.head)
        await self._read_log()
        # Before the streams: what those had seen who saved positions is visible by then.
        await self._read_checkpoints()
        await self._read_entries()
        await self._read_streams()
        await self._judge_positions()
        await look_again(self._scan, self._suspects, self._readings, self._ids)
        return Verification(
            head=self._scan.head,
            events=self._events,
            streams=self._streams,
            snapshots=self._snapshots,
            checkpoints=self._checkpoints,
            consumer_entries=self._entries,
            problems=tuple(self._findings.problems),
            more_problems=self._findings.more,
        )

    # --- The log -------------------------------------------------------------------------------------------------

    async def _find_head(self) -> None:
        scan = self._scan
        scan.head = await scan.call(scan.backend.head)
        page = await scan.read_all(None, 1, Direction.BACKWARD)
        for event in page.events if isinstance(page, LogPage) else ():
            if event.global_position > scan.head:
                # It was appended since; or the head has been lost, for no reader is given what is beyond it.
                head = await scan.call(scan.backend.head)
                scan.head = event.global_position
                if head < scan.head:
                    self._report_event(ProblemKind.POSITION, event, f"the head of the log is said to be {head}")

    async def _read_log(self) -> None:
        add_id, add_event = self._ids.add, self._readings.in_log
        previous = 0
        async for events in self._scan.log("log"):
            self._events += len(events)
            for event in events:
                add_id(event.event_id)
                add_event(event.stream_id, event.version, event.global_position)
                if (
                    event.global_position <= previous
                    or event.stream_type != stream_type_of(event.stream_id)
                    or type(event.data) is not dict
                    or type(event.metadata) is not dict
                ):
                    self._report_broken(event, previous)
                previous = event.global_position

    def _report_broken(self, event: RecordedEvent, previous: int) -> None:
        if event.global_position <= previous:
            self._report_event(ProblemKind.POSITION, event, f"it comes after position {previous}")
        if event.stream_type != stream_type_of(event.stream_id):
            self._report_event(ProblemKind.STREAM_TYPE, event, f"its stream type is {event.stream_type!a}")
        for part, value in (("data", event.data), ("metadata", event.metadata)):
            if type(value) is not dict:
                self._report_event(ProblemKind.PAYLOAD, event, f"its {part} is no JSON object")

    def _report_event(self, kind: ProblemKind, event: RecordedEvent, detail: str) -> None:
        place = {"stream_id": event.stream_id, "version": event.version, "global_position": event.global_position}
        self._scan.report(kind, detail, **place)

    # --- Streams and snapshots -----------------------------------------------------------------------------------

    async def _read_streams(self) -> None:
        scan = self._scan
        async for stream_id, info, run, snapshot in side_by_side(scan.streams(), self._runs(), scan.snapshots()):
            self._streams += info is not None
            # What cannot be read is reported, and makes all the rest look wrong.
            if scan.is_whole and looks_wrong(info, run):
                self._suspects.add(stream_id)
            if snapshot is not None:
                self._snapshots += 1
                await self._check_snapshot(snapshot, info)

    async def _runs(self) -> AsyncIterator[Run]:
        scan, add_event = self._scan, self._readings.in_stream
        run: Run | None = None
        seen, head = 0, scan.head
        async for place in scan.places():
            position = place.global_position
            if run is None or run.stream_id != place.stream_id:
                if run is not None:
                    yield run
                run = Run(place, head)
            else:
                run.add(place, head)
            self._highest = max(self._highest, position)
            if position <= head and position not in scan.unreadable:
                add_event(place.stream_id, place.version, position)
                seen += 1
                if seen % _EVENTS_BETWEEN == 0:
                    scan.tell("streams", min(seen, self._events), self._events)
        scan.tell("streams", self._events, self._events)
        if run is not None:
            yield run

    async def _check_snapshot(self, snapshot: EncodedSnapshot, info: StreamInfo | None) -> None:
        scan = self._scan
        place: dict[str, Any] = {"stream_id": snapshot.stream_id, "version": snapshot.version}
        if not _is_object(snapshot.data):
            scan.report(ProblemKind.PAYLOAD, "the data of the snapshot is no JSON object", **place)
        if info is not None and not info.deleted and 1 <= snapshot.version <= info.version:
            return
        # A stream's version only grows; and what is deleted has no snapshot from then on.
        info = await scan.call(scan.backend.stream_info, snapshot.stream_id)
        version = 0 if info is None else info.version
        if not 1 <= snapshot.version <= version:
            scan.report(ProblemKind.SNAPSHOT, f"the stream has come to version {version}", **place)
        elif info is not None and info.deleted and await self._is_there(snapshot):
            scan.report(ProblemKind.SNAPSHOT, "the stream is deleted", **place)

    async def _is_there(self, snapshot: EncodedSnapshot) -> bool:
        try:
            return await self._scan.call(self._scan.backend.load_snapshot, snapshot.stream_id) is not None
        except PASSING:
            raise
        except Exception:  # It cannot be decoded.
            return True

    # --- Positions that are kept ---------------------------------------------------------------------------------

    async def _read_checkpoints(self) -> None:
        async for kept in self._scan.checkpoints():
            self._checkpoints += 1
            self._check_position(ProblemKind.CHECKPOINT, kept.name, kept.position, "it is saved at a position")

    async def _read_entries(self) -> None:
        if Capability.CONSUMERS not in self._scan.backend.capabilities:
            return
        async for entry in self._scan.entries():
            self._entries += 1
            kind = next((kind for prefix, kind in _ENTRIES.items() if entry.key.startswith(prefix)), None)
            if kind is None:
                continue
            try:
                kept = msgspec.json.decode(entry.data, type=kind)
            except ValueError as error:
                self._scan.report(ProblemKind.CONSUMER, f"{entry.key} does not decode: {error}", name=entry.name)
                continue
            if isinstance(kept, (Partition, Parked)):
                detail = f"{entry.key} is at a position"
                self._check_position(ProblemKind.CONSUMER, entry.name, kept.position, detail)

    def _check_position(self, kind: ProblemKind, name: str, position: int, detail: str) -> None:
        if position < 0:
            self._scan.report(kind, f"{detail} below 0", name=name, global_position=position)
        elif position > self._scan.head:
            problem = Problem(kind, f"{detail} beyond the head of the log", name=name, global_position=position)
            self._beyond.append(problem)

    async def _judge_positions(self) -> None:
        """Report the positions that nobody can have come to, not even since the verification began."""
        for _ in range(LOOKS_AT_HEAD):
            if self._beyond:
                self._highest = max(self._highest, await self._scan.call(self._scan.backend.head))
                self._beyond = [problem for problem in self._beyond if (problem.global_position or 0) > self._highest]
        for problem in self._beyond:
            self._findings.add(problem)


def _is_object(text: bytes) -> bool:
    try:
        return type(decode_json(text)) is dict
    except ValueError:
        return False

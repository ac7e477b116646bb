"""Mutants that restore what another store recorded otherwise than it was there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import replace

from eventstore import Filter, StoreUnavailable
from eventstore.backend import (
    Conflict,
    Direction,
    EncodedEvent,
    EncodedSnapshot,
    LogPage,
    Place,
    RestoredEvent,
    StreamInfo,
    StreamState,
)
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State, utc_now
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.racing import others_run
from tests.conformance.mutants.sound import CarelessState, Database, SharedMemory
from tests.conformance.mutants.worlds import Remote, RemoteBackend

Restored = tuple[int, ...] | Conflict


class Changing(CarelessState):
    """A state that changes what it restores."""

    def changed(self, event: RestoredEvent) -> RestoredEvent:
        """Return what is stored in place of an event."""
        return event

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        return super().restore([self.changed(event) for event in events])


class ChangingEvents(Changing):
    """A state that changes the events in what it restores."""

    def changed_event(self, event: EncodedEvent) -> EncodedEvent:
        """Return what is stored in place of an event."""
        return event

    def changed(self, event: RestoredEvent) -> RestoredEvent:
        return replace(event, event=self.changed_event(event.event))


# --- What is kept ----------------------------------------------------------------------------------------------------


@caught_by("RESTORE-01")
class StampsWhatItRestores(Changing):
    """Restores by its ordinary append: all of history has happened on the day of the move."""

    def changed(self, event: RestoredEvent) -> RestoredEvent:
        return replace(event, created_at=utc_now())


@caught_by("RESTORE-01")
class KeepsMilliseconds(Changing):
    """Reads times of three decimals, as those of other stores and languages have them."""

    def changed(self, event: RestoredEvent) -> RestoredEvent:
        time = event.created_at
        return replace(event, created_at=time.replace(microsecond=time.microsecond // 1000 * 1000))


@caught_by("RESTORE-01", "RESTORE-13")
class GivesNewIdsToWhatItRestores(ChangingEvents):
    """Has its ids drawn by the database, those of moved events as well: what was caused by what is lost."""

    def changed_event(self, event: EncodedEvent) -> EncodedEvent:
        return replace(event, event_id=uuid4())


@caught_by("RESTORE-01")
class LosesMetadataInTheMove(ChangingEvents):
    """Has forgotten one column in the statement that restores."""

    def changed_event(self, event: EncodedEvent) -> EncodedEvent:
        return replace(event, metadata=b"{}")


@caught_by("RESTORE-02")
class RestoresStreamByStream(CarelessState):
    """Sorts what it inserts by stream, as it does for its locks: the log has another order than it had."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        ordered = sorted(events, key=lambda event: event.stream_id)
        outcome = super().restore(ordered)
        if isinstance(outcome, Conflict):
            return outcome
        placed = {event.event.event_id: position for event, position in zip(ordered, outcome, strict=True)}
        return tuple(placed[event.event.event_id] for event in events)


@caught_by("RESTORE-02")
class MergesByTime(CarelessState):
    """Places what it restores in the log by its time: readers that have passed there never see it."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        places = sorted(stored.position for stored in self._log)
        by_time = sorted(self._log, key=lambda stored: stored.created_at)
        self._log = [replace(stored, position=place) for stored, place in zip(by_time, places, strict=True)]
        return outcome


@caught_by("RESTORE-03")
class RestoresThroughDoubles(ChangingEvents):
    """Parses the payloads of a dump as JavaScript does: integers above 2**53 lose their last digits."""

    def changed_event(self, event: EncodedEvent) -> EncodedEvent:
        data = msgspec.json.decode(event.data)
        rounded = {key: int(float(value)) if type(value) is int else value for key, value in data.items()}
        return replace(event, data=msgspec.json.encode(rounded))


@caught_by("RESTORE-03")
class RestoresFromLatin1(ChangingEvents):
    """Reads the dump in another encoding than it was written in."""

    def changed_event(self, event: EncodedEvent) -> EncodedEvent:
        return replace(event, event_type=event.event_type.encode().decode("latin-1"))


@caught_by("RESTORE-04")
class RestoresAsManyAsItHasParameters(CarelessState):
    """Sends a restore in one statement whose parameters are limited, and drops the rest without a word."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events[:800])
        return outcome if isinstance(outcome, Conflict) else outcome + tuple(outcome[-1:]) * (len(events) - 800)


@caught_by("RESTORE-04")
class LocksAFewStreams(CarelessState):
    """Refuses to restore more streams at a time than it can lock."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        if len({event.stream_id for event in events}) > 250:
            raise StoreUnavailable("out of shared memory: too many locks")
        return super().restore(events)


# --- Going on --------------------------------------------------------------------------------------------------------


@caught_by("RESTORE-05")
class FollowsItsClockAfterAMove(CarelessState):
    """Looks for the time of a stream's last event among those that it has appended itself: time goes back."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        kept = {event.stream_id: self._streams.get(event.stream_id) for event in events}
        times = {name: stream.last_created_at for name, stream in kept.items() if stream is not None}
        outcome = super().restore(events)
        for name in kept if not isinstance(outcome, Conflict) else ():
            self._streams[name].last_created_at = times.get(name, utc_now().replace(year=1970))
        return outcome


@caught_by("RESTORE-05")
class HoldsAllStreamsToTheLatestTime(CarelessState):
    """Keeps its clock at the latest time that it has seen, in whatever stream: all else happens in 2100, too."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        latest = max((stream.last_created_at for stream in self._streams.values()), default=utc_now())
        self._clock = lambda: max(latest, utc_now())
        return outcome


@caught_by("RESTORE-06")
class RestoresIntoNewStreamsOnly(CarelessState):
    """Restores a stream in one piece: where it has begun already, that is a conflict."""

    def _follows(self, event: RestoredEvent) -> bool:
        return event.version == 1 and super()._follows(event)


@caught_by("RESTORE-07")
class ForgetsTheIdsThatItRestored(CarelessState):
    """Has its table of ids filled by its append: what was moved is stored again when it is sent again."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        known = self._by_id.copy()
        outcome = super().restore(events)
        self._by_id = known
        return outcome


# --- Where it is read ------------------------------------------------------------------------------------------------


@caught_by("RESTORE-08", "RESTORE-04")
class LeavesRestoredStreamsOffTheList(CarelessState):
    """Lists streams from an index that the restore does not fill."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        listed = self._stream_ids.copy()
        outcome = super().restore(events)
        self._stream_ids = listed
        return outcome


@caught_by("RESTORE-08")
class CountsRestoredEventsAsTruncated(CarelessState):
    """Takes the first event that it appended itself for the first that is left of the stream."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.moved: set[str] = set()

    def copy(self) -> State:
        copy = super().copy()
        copy.__dict__["moved"] = self.moved.copy()
        return copy

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        self.moved |= {event.stream_id for event in events}
        return super().restore(events)

    def stream_info(self, stream_id: str) -> StreamInfo | None:
        info = super().stream_info(stream_id)
        return replace(info, first_version=info.version + 1) if info and stream_id in self.moved else info


@caught_by("RESTORE-09")
class TakesPositionsForTimes(CarelessState):
    """Seeks a time in the log by halving, since it believes that times grow with positions."""

    def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = super().read_all(start, limit, direction, filter)
        if filter is None or filter.created_to is None:
            return page
        later = [event.position for event in self._log if event.created_at > filter.created_to]
        first_later = min(later, default=self.head + 1)
        return replace(page, events=[event for event in page.events if event.global_position < first_later])


# --- What is refused -------------------------------------------------------------------------------------------------


class CheckingLess(CarelessState):
    """A state that takes some of what does not follow."""

    def _follows(self, event: RestoredEvent) -> bool:
        return self.takes(event, self._state_of(event.stream_id)) or super()._follows(event)

    def takes(self, event: RestoredEvent, state: StreamState) -> bool:
        """Tell whether an event is taken all the same."""
        raise NotImplementedError


@caught_by("RESTORE-10", "RESTORE-17")
class RestoresAnyVersion(CheckingLess):
    """Believes that versions will fit, since they come from a store: the stream has gaps, and numbers twice."""

    def takes(self, event: RestoredEvent, state: StreamState) -> bool:
        return not state.deleted


@caught_by("RESTORE-10")
class LeavesGapsInAStream(CheckingLess):
    """Has a unique index on stream and version, and no other check: what is ahead is let in."""

    def takes(self, event: RestoredEvent, state: StreamState) -> bool:
        return not state.deleted and event.version > state.version


@caught_by("RESTORE-10", "RESTORE-17")
class NumbersAnew(CarelessState):
    """Gives what it restores the next versions of its own, whatever they were."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        return super().restore(list(self._numbered(events)))

    def _numbered(self, events: Sequence[RestoredEvent]) -> Iterator[RestoredEvent]:
        versions: dict[str, int] = {}
        for event in events:
            name = event.stream_id
            versions[name] = versions.get(name, self._state_of(name).version) + 1
            yield replace(event, version=versions[name])


def by_stream(events: Sequence[RestoredEvent]) -> list[list[RestoredEvent]]:
    """Return the events of each stream."""
    streams: dict[str, list[RestoredEvent]] = {}
    for event in events:
        streams.setdefault(event.stream_id, []).append(event)
    return list(streams.values())


@caught_by("RESTORE-11", "RESTORE-14")
class RestoresUpToAConflict(CarelessState):
    """Has no transaction around a restore: the streams before the one that does not fit keep their events."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        conflict = super().restore(events)
        if not isinstance(conflict, Conflict):
            return conflict
        for stream in by_stream(events):
            if isinstance(super().restore(stream), Conflict):
                break
        return conflict


@caught_by("RESTORE-11")
class ChecksAHundredStreams(CarelessState):
    """Looks up a hundred streams in one query, and takes it that the others are new."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        names = list(dict.fromkeys(event.stream_id for event in events))
        self.unchecked = set(names[100:])
        return super().restore(events)

    def _follows(self, event: RestoredEvent) -> bool:
        return event.stream_id in self.unchecked or super()._follows(event)


@caught_by("RESTORE-11")
class SortsTheStatesOfAConflict(CarelessState):
    """Answers with states in the order of its index, not of the list."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        if not isinstance(outcome, Conflict):
            return outcome
        return replace(outcome, streams=tuple(sorted(outcome.streams, key=lambda state: state.stream_id)))


@caught_by("RESTORE-12")
class RestoresIdsAgain(CarelessState):
    """Looks for ids in the stream that they are restored to: those of others are stored twice."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        known = self._by_id
        names = {event.stream_id for event in events}
        self._by_id = {event_id: stored for event_id, stored in known.items() if stored.stream_id in names}
        outcome = super().restore(events)
        self._by_id = known | self._by_id
        return outcome


@caught_by("RESTORE-12")
class SkipsIdsThatAreThere(CarelessState):
    """`ON CONFLICT DO NOTHING`: what could not be restored is reported as done."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        fresh = [event for event in events if event.event.event_id not in self._by_id]
        if len(fresh) == len(events) or not fresh:
            return super().restore(events)
        outcome = super().restore(fresh)
        return outcome if isinstance(outcome, Conflict) else outcome + outcome[-1:] * (len(events) - len(fresh))


@caught_by("RESTORE-12", "RESTORE-13")
class DoesNotSayWhatIsStored(CarelessState):
    """Answers a violation of its unique index with the states alone: a repetition looks like damage."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        return replace(outcome, stored=()) if isinstance(outcome, Conflict) else outcome


@caught_by("RESTORE-12", "RESTORE-13")
class ReturnsWhatItWasSent(CarelessState):
    """Answers with the events of the call, not with those in the store: streams, positions and times are made up."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        if not isinstance(outcome, Conflict):
            return outcome
        sent = {event.event.event_id: event for event in events}
        stored = [
            replace(event, stream_id=sent[event.event_id].stream_id, global_position=self.head)
            for event in outcome.stored
        ]
        return replace(outcome, stored=tuple(stored))


@caught_by("RESTORE-13")
class LooksUpAHundredIds(CarelessState):
    """Asks for known ids by a query whose parameters are limited, and cuts the list."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        return replace(outcome, stored=outcome.stored[:100]) if isinstance(outcome, Conflict) else outcome


@caught_by("RESTORE-14")
class RestoresOverATombstone(CheckingLess):
    """Does not look for a tombstone: who has asked to be forgotten comes back with the move."""

    def takes(self, event: RestoredEvent, state: StreamState) -> bool:
        return state.deleted and event.version == state.version + 1


@caught_by("RESTORE-15")
class RestoresTimesThatGoBack(CheckingLess):
    """Compares versions only."""

    def takes(self, event: RestoredEvent, state: StreamState) -> bool:
        return not state.deleted and event.version == state.version + 1


@caught_by("RESTORE-15", "RESTORE-01")
class WantsEveryTimeToBeLater(CarelessState):
    """Takes a time for a key: of two events in one microsecond the second is refused."""

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        for stream in by_stream(events):
            known = self._streams.get(stream[0].stream_id)
            times = [event.created_at for event in stream]
            if len(set(times)) < len(times) or (known and known.last_created_at == times[0]):
                return Conflict((self._state_of(stream[0].stream_id),), ())
        return super().restore(events)


# --- Streams without events ------------------------------------------------------------------------------------------


@caught_by("RESTORE-16", "RESTORE-17")
class TakesAMovedStreamForNew(CarelessState):
    """Keeps no row of a stream beside its events: one that has none left is new again after a move."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = self._state_of(stream_id)
        return state if stream_id in self._streams else None


@caught_by("RESTORE-16")
class KeepsSmallVersions(CarelessState):
    """Has a column of 32 bits for the version of a stream that was moved."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        return super().restore_stream(stream_id, min(version, 2**31 - 1))


@caught_by("RESTORE-16", "RESTORE-17")
class RestoresAStreamAsDeleted(CarelessState):
    """Takes a stream without events for a deleted one."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = super().restore_stream(stream_id, version)
        if state is None:
            self._streams[stream_id].deleted = True
        return state


@caught_by("RESTORE-17")
class BeginsRestoredStreamsNow(CarelessState):
    """Takes the moment in which it made a stream for the time of its last event: its old ones are refused."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = super().restore_stream(stream_id, version)
        if state is None:
            self._streams[stream_id].last_created_at = utc_now()
        return state


@caught_by("RESTORE-18")
class RestoresOverAStream(CarelessState):
    """Sets the version of a stream that is empty, be it a lower one (`ON CONFLICT DO UPDATE`)."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = super().restore_stream(stream_id, version)
        if state is not None and not self._streams[stream_id].events:
            self._streams[stream_id].version = version
        return state


@caught_by("RESTORE-18")
class RevivesAStream(CarelessState):
    """Removes the tombstone of a stream that it restores."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = super().restore_stream(stream_id, version)
        self._streams[stream_id].deleted = False
        return state


@caught_by("RESTORE-18")
class DoesNotSayWhereAStreamIs(CarelessState):
    """Answers that it has restored a stream which it has left as it was."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        super().restore_stream(stream_id, version)
        return None


@caught_by("RESTORE-18")
class LeavesAGapBehindEvents(CarelessState):
    """Compares versions only: a stream whose events are there is set to a version behind them."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.deleted and stream.version < version:
            stream.version = version
            return None
        return super().restore_stream(stream_id, version)


@caught_by("RESTORE-29")
class RestoresStreamsThatNeverWereOnly(CarelessState):
    """Takes any stream that is there for a conflict: what was moved and truncated is never moved again."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        if stream_id in self._streams:
            return self._state_of(stream_id)
        return super().restore_stream(stream_id, version)


@caught_by("RESTORE-29")
class DropsTheSnapshotOfAStreamThatGoesFurther(CarelessState):
    """Removes the stream and makes another one of its name: its snapshot is gone."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = super().restore_stream(stream_id, version)
        if state is None:
            self.snapshots.pop(stream_id, None)
        return state


@caught_by("RESTORE-29")
class KeepsTheFirstVersionOfATruncation(CarelessState):
    """Sets the version of a stream that goes further, and no other column: it seems to have events left."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.truncated: dict[str, int] = {}

    def copy(self) -> State:
        copy = super().copy()
        copy.__dict__["truncated"] = self.truncated.copy()
        return copy

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.truncated.setdefault(stream_id, stream.first_version)
        return super().restore_stream(stream_id, version)

    def stream_info(self, stream_id: str) -> StreamInfo | None:
        info = super().stream_info(stream_id)
        return replace(info, first_version=self.truncated.get(stream_id, info.first_version)) if info else None


@caught_by("RESTORE-30")
class WantsAHigherVersion(CarelessState):
    """Refuses what leads no further (`>=` where `>` was meant): what is sent again looks like a conflict."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = self._state_of(stream_id)
        return state if state.version >= version else super().restore_stream(stream_id, version)


@caught_by("RESTORE-32")
class ForgetsTheTimeOfATruncatedEvent(CarelessState):
    """Writes the row of a stream anew, which had the time of its last event: time goes back."""

    def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        state = super().restore_stream(stream_id, version)
        if state is None:
            self._streams[stream_id].last_created_at = datetime.min.replace(tzinfo=UTC)
        return state


# --- Like any other --------------------------------------------------------------------------------------------------


@caught_by("RESTORE-19")
class KeepsNoSnapshotOfAMovedStream(CarelessState):
    """Looks for a stream's version among its events: one that has none left takes no snapshot."""

    def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        stream = self._streams.get(snapshot.stream_id)
        if stream is not None and not stream.events:
            return StreamState(snapshot.stream_id, 0, deleted=False)
        return super().save_snapshot(snapshot)


@caught_by("RESTORE-20")
class HidesThePlacesOfWhatItRestored(CarelessState):
    """Keeps an index for places that a restore does not fill: what it restored seems lost."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.moved: set[int] = set()

    def copy(self) -> State:
        copy = super().copy()
        copy.__dict__["moved"] = self.moved.copy()
        return copy

    def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        outcome = super().restore(events)
        self.moved |= set() if isinstance(outcome, Conflict) else set(outcome)
        return outcome

    def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        found = super().list_places(after, 2**31)
        return [place for place in found if place.global_position not in self.moved][:limit]


@caught_by("RESTORE-21")
class LosesWhatItRestored(SharedMemory):
    """Acknowledges a restore that is not on the disk: it is gone when the store is opened again."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.kept: State | None = None

    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        self.kept = self.kept or self._state.copy()
        return await super().restore(events)

    async def close(self) -> None:
        await super().close()
        self._state = self.kept or self._state


@caught_by("RESTORE-21")
class ForgetsRestoredTimesWhenClosed(SharedMemory):
    """Keeps the time of a stream's last event in the memory of the process: afterwards time goes back."""

    async def close(self) -> None:
        await super().close()
        for stream in self._state._streams.values():
            stream.last_created_at = utc_now()


# --- Races -----------------------------------------------------------------------------------------------------------


@caught_by("RESTORE-22")
class WakesNobodyForARestore(MemoryBackend):
    """Tells those who wait of appends only: what was moved is seen with the next append."""

    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        async with self._writing:
            return self._state.restore(events)


@caught_by("RESTORE-23")
class DrawsItsPositionsFirst(MemoryBackend):
    """Draws the positions of a restore before it writes: readers have passed them when it is stored."""

    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        state = self._state
        drawn = [next(state._positions) for _ in events]
        for _ in range(5):
            await others_run()
        later, state._positions = state._positions, iter(drawn)  # type: ignore[assignment]
        head = state.head
        outcome = state.restore(events)
        state._positions = later
        state.head = max(head, state.head)
        state._log.sort(key=lambda stored: stored.position)
        self._watch.nudge()
        return outcome


@caught_by("RESTORE-24", "RESTORE-27")
class CommitsStreamByStream(MemoryBackend):
    """Commits each stream of a restore by itself: readers see a part, and who is cancelled leaves one."""

    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        verdict = self._state.copy().restore(events)
        if isinstance(verdict, Conflict):
            return verdict
        placed: dict[UUID, int] = {}
        await others_run()
        for stream in by_stream(events):
            outcome = self._state.restore(stream)
            if not isinstance(outcome, Conflict):
                placed |= zip((event.event.event_id for event in stream), outcome, strict=True)
            self._watch.nudge()
            await others_run()
        return tuple(placed[event.event.event_id] for event in events)


@caught_by("RESTORE-25", "RESTORE-26")
class ChecksARestoreOutsideTheLock(MemoryBackend):
    """Reads the versions, then writes, in two statements without a unique index behind them."""

    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        verdict = self._state.copy().restore(events)
        await others_run()
        if isinstance(verdict, Conflict):
            return verdict
        known, streams = self._state._by_id, self._state._streams
        self._state._by_id = {}
        for first, *_ in by_stream(events):
            if first.stream_id in streams:
                streams[first.stream_id].version = first.version - 1
        outcome = self._state.restore(events)
        self._state._by_id = known | self._state._by_id
        self._watch.nudge()
        return outcome


@caught_by("RESTORE-33", "RESTORE-34")
class ChecksAStreamOutsideTheLock(MemoryBackend):
    """Reads where a stream is, then sets its version, in two statements: events that came between stand below it."""

    async def restore_stream(self, stream_id: str, version: int) -> StreamState | None:
        verdict = self._state.copy().restore_stream(stream_id, version)
        await others_run()
        if verdict is None:
            self._state._stream_to_write(stream_id).version = version
        return verdict


@caught_by("RESTORE-27")
class RestoresAfterACancellation(MemoryBackend):
    """Leaves the work to a thread that does not hear of a cancellation: it happens after that was told."""

    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        async def work() -> Restored:
            for _ in range(7):
                await others_run()
            return await super(RestoresAfterACancellation, self).restore(events)

        return await asyncio.shield(asyncio.ensure_future(work()))


class _HalfDone(RemoteBackend):
    async def restore(self, events: Sequence[RestoredEvent]) -> Restored:
        half = self.world.cut == "reply"
        return await super().restore(events[: len(events) // 2] if half else events)


@caught_by("RESTORE-28")
class CommitsWhatCameThrough(Remote):
    """Commits on the server what has arrived of a restore when its line is cut."""

    def backend(self) -> Any:
        return _HalfDone(self)

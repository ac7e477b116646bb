"""Mutants that verify themselves and see too little, or what is not there."""

from __future__ import annotations

from typing import Any

import msgspec

from eventstore import EventStore, Problem, ProblemKind, StoreNotOpen, Verification
from eventstore.backend import Checkpoint, EncodedSnapshot, Place
from eventstore.progress import ProgressCallback
from eventstore.verifying import verifier
from eventstore.verifying.records import DEFAULT_MOST_PROBLEMS
from eventstore.verifying.runs import looks_wrong, side_by_side
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState

# --- What is verified ------------------------------------------------------------------------------------------------


class Verifying(EventStore):
    """A store whose verifications are of its own kind."""

    kind: type[verifier.Verifier] = verifier.Verifier

    async def verify(
        self, *, progress: ProgressCallback | None = None, most_problems: int = DEFAULT_MOST_PROBLEMS
    ) -> Verification:
        await super().verify(most_problems=most_problems)
        return await self.kind(self._backend, self._repeatable, most_problems, progress).run()


@caught_by("VERIFY-09", "VERIFY-10")
class FindsNothing(EventStore):
    """Counts what there is, and finds nothing wrong whatever there is."""

    async def verify(self, **options: Any) -> Verification:
        return msgspec.structs.replace(await super().verify(**options), problems=(), more_problems=0)


@caught_by("VERIFY-01")
class MissesSomethingWhereNothingIs(EventStore):
    """Takes an empty log for a lost one."""

    async def verify(self, **options: Any) -> Verification:
        found = await super().verify(**options)
        lost = Problem(ProblemKind.MISSING, "there is no event")
        return found if found.events else msgspec.structs.replace(found, problems=(lost,))


@caught_by("VERIFY-03")
class CountsPositions(EventStore):
    """Takes the head for the number of events."""

    async def verify(self, **options: Any) -> Verification:
        found = await super().verify(**options)
        return msgspec.structs.replace(found, events=found.head)


@caught_by("VERIFY-10")
class ListsTheFirstProblems(EventStore):
    """Lists so many problems, and says nothing of the others."""

    async def verify(self, **options: Any) -> Verification:
        return msgspec.structs.replace(await super().verify(**options), more_problems=0)


@caught_by("VERIFY-11")
class TakesAnyLimitOfProblems(EventStore):
    """Does not look at the limit that it is given."""

    async def verify(self, *, most_problems: Any = DEFAULT_MOST_PROBLEMS, **options: Any) -> Verification:
        is_sound = type(most_problems) is int and 0 <= most_problems < 2**63
        return await super().verify(most_problems=most_problems if is_sound else 1, **options)


@caught_by("VERIFY-12")
class SaysThatItBegins(EventStore):
    """Tells its progress at the beginning of a step, and nothing of its end."""

    async def verify(self, *, progress: ProgressCallback | None = None, **options: Any) -> Verification:
        def tell(told: Any) -> None:
            if progress is not None:
                progress(msgspec.structs.replace(told, done=0))

        return await super().verify(progress=tell, **options)


@caught_by("VERIFY-15")
class VerifiesNothingWhenClosed(EventStore):
    """Finds nothing wrong with a closed store, where it could look at nothing."""

    async def verify(self, **options: Any) -> Verification:
        try:
            return await super().verify(**options)
        except StoreNotOpen:
            return Verification(0, 0, 0, 0, 0, 0, (), 0)


# --- False alarms beside writers -------------------------------------------------------------------------------------


class _AtFirstSight(verifier.Verifier):
    async def _read_streams(self) -> None:
        scan = self._scan
        async for stream_id, info, run, snapshot in side_by_side(scan.streams(), self._runs(), scan.snapshots()):
            self._streams += info is not None
            self._snapshots += snapshot is not None
            if looks_wrong(info, run):
                scan.report(ProblemKind.STREAM, "it looks wrong", stream_id=stream_id)
        if not self._readings.agree:
            scan.report(ProblemKind.NOT_IN_STREAM, "the log and the streams differ")


@caught_by("VERIFY-08")
class ReportsAtFirstSight(Verifying):
    """Reads the log and then the streams, and takes what was removed in between for lost."""

    kind = _AtFirstSight


class _ByTheFirstHead(verifier.Verifier):
    async def _judge_positions(self) -> None:
        for problem in self._beyond:
            self._findings.add(problem)


@caught_by("VERIFY-08")
class GoesByTheHeadOfTheBeginning(Verifying):
    """Takes a checkpoint for lost in the future that has moved on since the head was looked up."""

    kind = _ByTheFirstHead


# --- What backends list for it ---------------------------------------------------------------------------------------


@caught_by("VERIFY-03")
class HidesThePlacesOfTheDeleted(CarelessState):
    """Lists the events of deleted streams as they are read, not at all: the log has them, and they seem lost."""

    def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        found = super().list_places(after, 2**31)
        return [place for place in found if not self._streams[place.stream_id].deleted][:limit]


@caught_by("VERIFY-07")
class ForgetsToRollBackPlaces(CarelessState):
    """Keeps an index of its own for places, which a rollback leaves as it is."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.index: dict[tuple[str, int], Place] = {}

    def copy(self) -> State:
        copy = super().copy()
        copy.__dict__["index"] = self.index
        return copy

    def _place(self, append: Any) -> Any:
        placed = super()._place(append)
        for version, position in enumerate(placed.positions, placed.first_version):
            place = Place(append.stream_id, version, position, placed.created_at)
            self.index[append.stream_id, version] = place
        return placed

    def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        return [self.index[key] for key in sorted(self.index) if after is None or key > after][:limit]


@caught_by("VERIFY-13")
class SkipsOneBetweenPages(CarelessState):
    """Begins a page of places one place too late."""

    def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        return super().list_places(after, 2**31)[0 if after is None else 1 :][:limit]


@caught_by("VERIFY-04", "VERIFY-14")
class ListsNoSnapshots(MemoryBackend):
    """Has no snapshots to list."""

    async def list_snapshots(self, after: str | None, limit: int) -> list[EncodedSnapshot]:
        return []


@caught_by("VERIFY-13")
class ListsOnePageOfCheckpoints(MemoryBackend):
    """Lists one page of checkpoints, and no more."""

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        return [] if after is not None else await super().list_checkpoints(None, limit)


@caught_by("VERIFY-05", "VERIFY-14")
class ListsCheckpointsThatWereMoved(MemoryBackend):
    """Leaves out the checkpoints that are still at the beginning, or at the first event."""

    async def list_checkpoints(self, after: str | None, limit: int) -> list[Checkpoint]:
        found = await super().list_checkpoints(after, 2**31)
        return [kept for kept in found if kept.position > 1][:limit]


class _WithoutEntries(verifier.Verifier):
    async def _read_entries(self) -> None:
        return


@caught_by("VERIFY-06")
class ForgetsTheConsumers(Verifying):
    """Looks at checkpoints, and forgets what consumers keep."""

    kind = _WithoutEntries


@caught_by("VERIFY-14")
class CutsTheNamesOfPlaces(CarelessState):
    """Keeps the ids of streams in an index of 50 characters: those of longer ids do not belong to any stream."""

    def list_places(self, after: tuple[str, int] | None, limit: int) -> list[Place]:
        found = super().list_places(after, limit)
        return [msgspec.structs.replace(place, stream_id=place.stream_id[:50]) for place in found]


@caught_by("VERIFY-02")
class CountsStreamsByType(EventStore):
    """Counts the types of streams (`GROUP BY stream_type`), and takes them for streams."""

    async def verify(self, **options: Any) -> Verification:
        found = await super().verify(**options)
        types = {info.stream_type async for info in self.list_streams(include_deleted=True)}
        return msgspec.structs.replace(found, streams=len(types))

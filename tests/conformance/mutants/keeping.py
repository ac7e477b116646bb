"""Mutants that keep snapshots and checkpoints, or lose them, otherwise than they should."""

from __future__ import annotations

from typing import Any

from eventstore import CheckpointConflict, EventStore, InvalidArgument, JsonObject
from eventstore.backend import EncodedSnapshot, Snapshot, StreamState
from eventstore_memory import MemoryBackend
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.racing import others_run
from tests.conformance.mutants.sound import CarelessState

# --- Snapshots -------------------------------------------------------------------------------------------------------


@caught_by("SNAPSHOT-04")
class KeepsTheSnapshotThatCameLast(CarelessState):
    """Replaces a snapshot by whatever comes, an older one as well."""

    def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        kept = self.snapshots.get(snapshot.stream_id)
        if kept and kept[0].version > snapshot.version:
            self.snapshots[snapshot.stream_id] = (snapshot, kept[1])
        return super().save_snapshot(snapshot)


@caught_by("SNAPSHOT-03")
class KeepsTheFirstSnapshot(CarelessState):
    """Inserts a snapshot and does nothing where there is one (`ON CONFLICT DO NOTHING`)."""

    def save_snapshot(self, snapshot: EncodedSnapshot) -> StreamState | None:
        return None if snapshot.stream_id in self.snapshots else super().save_snapshot(snapshot)


@caught_by("SNAPSHOT-02")
class ReturnsAnEmptySnapshot(CarelessState):
    """Returns a snapshot of version 0 where there is none."""

    def load_snapshot(self, stream_id: str) -> Snapshot | None:
        return super().load_snapshot(stream_id) or Snapshot(stream_id, 0, {}, self._clock())


@caught_by("SNAPSHOT-14", "SNAPSHOT-17", "SNAPSHOT-18")
class TakesAnySnapshot(EventStore):
    """Checks neither the data of a snapshot nor its version nor whose it is."""

    async def save_snapshot(self, stream_id: str, version: int, data: JsonObject) -> None:
        try:
            await super().save_snapshot(stream_id, version, data)
        except ValueError:
            return

    async def load_snapshot(self, stream_id: str) -> Snapshot | None:
        try:
            return await super().load_snapshot(stream_id)
        except InvalidArgument:
            return None


# --- Checkpoints -----------------------------------------------------------------------------------------------------


@caught_by("CHECKPOINT-05", "CHECKPOINT-06", "CHECKPOINT-08")
class TakesTheLastCheckpoint(MemoryBackend):
    """Saves whatever comes last: of two workers the slower one sets the other back."""

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        self._state.checkpoints[name] = position
        return expected


@caught_by("CHECKPOINT-08")
class ChecksCheckpointsOutsideTheLock(MemoryBackend):
    """Reads the checkpoint and then writes it, in two statements: two workers move it from one place."""

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        found = await self.load_checkpoint(name)
        await others_run()
        if found == expected:
            self._state.checkpoints[name] = position
        return found


@caught_by("CHECKPOINT-07")
class NeverGoesBack(MemoryBackend):
    """Keeps the greater of two positions (`GREATEST`): a rebuild on purpose does not begin."""

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        return await super().save_checkpoint(name, max(position, expected), expected)


@caught_by("CHECKPOINT-07")
class GoesBackWithoutBeingAsked(EventStore):
    """Takes any position: a checkpoint goes back by mistake."""

    async def save_checkpoint(self, name: str, position: int, *, expected: int, rewind: bool = False) -> None:
        await super().save_checkpoint(name, position, expected=expected, rewind=True)


@caught_by("CHECKPOINT-04")
class RefusesToStay(EventStore):
    """Takes a position that has not moved for a conflict, since no row was changed."""

    async def save_checkpoint(self, name: str, position: int, *, expected: int, rewind: bool = False) -> None:
        if position == expected and not isinstance(position, bool):
            raise CheckpointConflict(name, expected, position)
        await super().save_checkpoint(name, position, expected=expected, rewind=rewind)


@caught_by("CHECKPOINT-06")
class MakesACheckpointAnywhere(MemoryBackend):
    """Inserts a checkpoint that is not there, wherever it was expected."""

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        if name not in self._state.checkpoints:
            expected_or_new = self._state.checkpoints.setdefault(name, expected)
            return await super().save_checkpoint(name, position, expected_or_new)
        return await super().save_checkpoint(name, position, expected)


@caught_by("CHECKPOINT-05", "CHECKPOINT-08")
class ReportsWhereItWasExpected(EventStore):
    """Tells a worker that lost where it expected the checkpoint, not where it is."""

    async def save_checkpoint(self, name: str, position: int, *, expected: int, rewind: bool = False) -> None:
        try:
            await super().save_checkpoint(name, position, expected=expected, rewind=rewind)
        except CheckpointConflict as conflict:
            raise CheckpointConflict(conflict.name, conflict.expected, conflict.expected) from conflict


@caught_by("CHECKPOINT-02")
class KeepsCheckpointsInFourBytes(MemoryBackend):
    """Keeps positions as integers of 32 bits."""

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        found = await super().save_checkpoint(name, position, expected)
        self._state.checkpoints[name] &= 2**31 - 1
        return found


@caught_by("CHECKPOINT-02")
class PassesCheckpointsThroughDoubles(MemoryBackend):
    """Keeps positions as JSON numbers, which are doubles to whom reads them."""

    async def load_checkpoint(self, name: str) -> int:
        return int(float(await super().load_checkpoint(name)))


@caught_by("CHECKPOINT-09")
class FoldsTheCaseOfCheckpoints(MemoryBackend):
    """Finds a checkpoint by its name in lower case."""

    async def load_checkpoint(self, name: str) -> int:
        return await super().load_checkpoint(name.lower())

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        return await super().save_checkpoint(name.lower(), position, expected)


@caught_by("CHECKPOINT-10")
class KeepsCheckpointsAsStreams(MemoryBackend):
    """Keeps each checkpoint in a stream of its name, which is listed among the others."""

    async def save_checkpoint(self, name: str, position: int, expected: int) -> int:
        self._state._stream_to_write(name)
        return await super().save_checkpoint(name, position, expected)


@caught_by("CHECKPOINT-01")
class BeginsAtTheFirstEvent(MemoryBackend):
    """Takes 1 for the beginning: the first event is never read."""

    async def load_checkpoint(self, name: str) -> int:
        return await super().load_checkpoint(name) or 1


@caught_by("CHECKPOINT-03")
class KeepsTheNextPosition(EventStore):
    """Keeps the position to begin with, where the contract keeps the one that was seen: an event is passed over."""

    async def load_checkpoint(self, name: str) -> int:
        found = await super().load_checkpoint(name)
        return found and found + 1


@caught_by("CHECKPOINT-11", "CHECKPOINT-12")
class TakesAnyCheckpoint(EventStore):
    """Checks neither the name of a checkpoint nor its position."""

    async def save_checkpoint(self, name: str, position: int, *, expected: int, rewind: bool = False) -> None:
        fitting: Any = [value if isinstance(value, int) and value >= 0 else 0 for value in (position, expected)]
        await super().save_checkpoint(_named(name), fitting[0], expected=fitting[1], rewind=rewind)

    async def load_checkpoint(self, name: str) -> int:
        return await super().load_checkpoint(_named(name))


def _named(name: object) -> str:
    return name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 255 else "other"

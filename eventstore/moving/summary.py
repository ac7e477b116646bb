"""What `EventStore.import_from` reports."""

from __future__ import annotations

import msgspec

from eventstore.wording import counted


class Imported(msgspec.Struct, frozen=True):
    """How much of an export was stored, and what was not.

    `events` were stored now, `already_stored` had been by an earlier import, `left_out` are events below the first
    version of a stream that was truncated or erased while the export was made. `streams` were truncated or deleted, or
    begin truncated, `snapshots`, `checkpoints` and `consumers` were saved. `kept` counts checkpoints and consumers that
    the store has otherwise than the export, and keeps. `lost_parked` counts parked events of consumers that are in the
    log no more.
    """

    events: int = 0
    already_stored: int = 0
    left_out: int = 0
    streams: int = 0
    snapshots: int = 0
    checkpoints: int = 0
    consumers: int = 0
    kept: int = 0
    lost_parked: int = 0

    def __str__(self) -> str:
        parts = [
            f"{counted(self.events, 'event')} stored",
            f"{self.already_stored:,} stored before" if self.already_stored else "",
            f"{counted(self.left_out, 'truncated event')} left out" if self.left_out else "",
            f"{counted(self.streams, 'stream')} truncated or deleted" if self.streams else "",
            counted(self.snapshots, "snapshot") if self.snapshots else "",
            counted(self.checkpoints, "checkpoint") if self.checkpoints else "",
            counted(self.consumers, "consumer") if self.consumers else "",
            f"{self.kept:,} of the checkpoints and consumers were there and stay as they are" if self.kept else "",
            f"{counted(self.lost_parked, 'parked event')} not in the log any more" if self.lost_parked else "",
        ]
        return ", ".join(part for part in parts if part)

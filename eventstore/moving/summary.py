"""What `EventStore.import_from` reports."""

from __future__ import annotations

import msgspec


class Imported(msgspec.Struct, frozen=True):
    """How much of an export was stored, and what was not.

    `events` were stored now, `already_stored` had been by an earlier import, `left_out` are events below the first
    version of a stream that was truncated or erased while the export was made. `streams` is how many the export has
    that were truncated or deleted, and are so here. Of `checkpoints` and `consumers` only those are counted that the
    store did not have: it keeps its own, `kept`. `lost_parked` counts parked events of consumers that are in the log no
    more.
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
            f"{self.events:,} events stored",
            f"{self.already_stored:,} stored before" if self.already_stored else "",
            f"{self.left_out:,} truncated ones left out" if self.left_out else "",
            f"{self.streams:,} streams truncated or deleted" if self.streams else "",
            f"{self.snapshots:,} snapshots" if self.snapshots else "",
            f"{self.checkpoints:,} checkpoints" if self.checkpoints else "",
            f"{self.consumers:,} consumers" if self.consumers else "",
            f"{self.kept:,} checkpoints and consumers that were there left as they are" if self.kept else "",
            f"{self.lost_parked:,} parked events that are in the log no more left out" if self.lost_parked else "",
        ]
        return ", ".join(part for part in parts if part)

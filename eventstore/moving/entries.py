"""What consumers keep, in an export: read, checked, and told in the positions of another store."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

import msgspec

from eventstore.arguments import name_fault
from eventstore.events import JsonObject
from eventstore.ledger import (
    FAILED,
    PARKED,
    PARTITION,
    REPLAY,
    SETTINGS,
    WAITING,
    Parked,
    Partition,
    Settings,
    parked_key,
    partition_key,
)
from eventstore.policies import MOST_PARTITIONS

_KEY: Final = re.compile(f"({PARTITION}|{PARKED})([0-9]{{4}})", re.ASCII)
_KINDS: Final = {PARTITION: Partition, PARKED: Parked}

Kept: TypeAlias = Settings | Partition | Parked


class ConsumerState(NamedTuple):
    """An entry of a consumer: what it keeps, and for which partition, -1 where it is for all."""

    number: int
    kept: Kept

    @property
    def position(self) -> int:
        """How far the consumer has come, or where the parked event stands."""
        return self.kept.after if isinstance(self.kept, Settings) else self.kept.position

    @property
    def is_parked(self) -> bool:
        """Whether it is a parked event, whose position is that of the event."""
        return isinstance(self.kept, Parked)

    def key_at(self, position: int) -> str:
        """Return the key of the entry in a store where its position is this one."""
        match self.kept:
            case Settings():
                return SETTINGS
            case Partition():
                return partition_key(self.number)
            case Parked():
                return parked_key(self.number, position)

    def data_at(self, position: int) -> bytes:
        """Return the data of the entry in a store where its position is this one."""
        match self.kept:
            case Settings():
                moved: Kept = msgspec.structs.replace(self.kept, after=position)
            case Partition():
                # Nobody is at work there; and the next event may be another one than the one that was tried here.
                moved = Partition(position, handled=self.kept.handled)
            case Parked():
                moved = msgspec.structs.replace(self.kept, position=position)
        return msgspec.json.encode(moved)


def parse_entry(key: str, data: JsonObject) -> ConsumerState:
    """Return what an entry keeps. Raises `ValueError` where it is none."""
    state = _decoded(key, data)
    if not 0 <= state.position < 2**63:
        raise ValueError(f"position {state.position} is out of range")
    if key != state.key_at(state.position):
        raise ValueError(f"the key {key!a} does not belong to what it keeps")
    match state.kept:
        case Settings() as settings:
            if not 1 <= settings.partitions <= MOST_PARTITIONS:
                raise ValueError(f"{settings.partitions} partitions are not 1 to {MOST_PARTITIONS:,}")
        case Parked() as parked:
            fault = name_fault(parked.stream_id)
            if fault is not None:
                raise ValueError(f"$.stream_id: {fault}")
            if parked.state not in (FAILED, WAITING, REPLAY):
                raise ValueError(f"a parked event is not {parked.state!a}")
        case Partition():
            pass
    return state


def _decoded(key: str, data: JsonObject) -> ConsumerState:
    if key == SETTINGS:
        return ConsumerState(-1, msgspec.convert(data, Settings))
    found = _KEY.match(key)
    if found is None:
        raise ValueError(f"the key {key!a} is unknown")
    return ConsumerState(int(found[2]), msgspec.convert(data, _KINDS[found[1]]))

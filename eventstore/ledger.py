"""What a consumer writes down, as entries that change by compare-and-set: settings, partitions, workers, parked events.

All that must not happen twice, or be lost with a process, is decided here. A partition's entry holds its worker and its
position together, so whoever takes the partition over makes every later save of the former worker fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from eventstore.backend import Entry, Session

if TYPE_CHECKING:
    from eventstore.store import EventStore

PAGE: Final = 500


class Settings(msgspec.Struct, frozen=True):
    """What all workers of a consumer agree on."""

    partitions: int
    after: int
    """Where a partition begins that has no entry yet."""

    replaced_by: str | None = None
    """The consumer that has taken this one's place."""


class Partition(msgspec.Struct, frozen=True):
    """How far a partition has come, who works on it, and what it is struggling with."""

    position: int
    worker: str | None = None
    attempts: int = 0
    """How often the event after `position` was tried and failed, or took its process down."""

    handled: int = 0
    """How many events were handled, in all."""

    rate: float = 0.0
    """Positions per second, lately."""


class WorkerEntry(msgspec.Struct, frozen=True):
    """A sign of life: each beat changes the entry's version."""

    beats: int = 0


class Parked(msgspec.Struct, frozen=True):
    """An event set aside: it failed, waits behind one of its stream that did, or is to be handled again."""

    position: int
    stream_id: str
    state: str
    holds: bool
    """Whether later events of its stream wait behind it."""

    attempts: int
    error: str
    parked_at: datetime


FAILED: Final = "failed"
WAITING: Final = "waiting"
REPLAY: Final = "replay"

StateT = TypeVar("StateT", Settings, Partition, WorkerEntry, Parked)


class Kept(NamedTuple, Generic[StateT]):
    """A state, and the version of the entry that holds it."""

    key: str
    version: int
    state: StateT


class Access(Protocol):
    """Where entries are read and written: the store, with its patience, or a transaction."""

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Do as `Session.list_entries`."""
        ...

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Do as `Session.save_entry`."""
        ...


class StoreEntries:
    """Entries as a store reads and writes them: with its patience."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def list_entries(
        self, name: str | None, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Entry]:
        """Do as `Session.list_entries`."""
        return await self._store._repeatable(self._store._reader().list_entries, name, prefix, after, limit)

    async def save_entry(self, name: str, key: str, data: bytes | None, expected: int) -> int:
        """Do as `Session.save_entry`."""
        return await self._store._once(self._store._writer().save_entry, name, key, data, expected)


SETTINGS: Final = "settings"
WORKER: Final = "worker/"
PARTITION: Final = "partition/"
PARKED: Final = "parked/"


def partition_key(number: int) -> str:
    """Return the key of a partition."""
    return f"{PARTITION}{number:04}"


def parked_prefix(number: int) -> str:
    """Return what the keys of a partition's parked events begin with."""
    return f"{PARKED}{number:04}/"


def parked_key(number: int, position: int) -> str:
    """Return the key of a parked event; those of a partition are in the order of the log."""
    return f"{parked_prefix(number)}{position:019}"


class Ledger:
    """The entries of one consumer."""

    def __init__(self, name: str, access: Access) -> None:
        self.name = name
        self._access = access

    def within(self, session: Session) -> Ledger:
        """Return the same entries, read and written in a transaction."""
        return Ledger(self.name, session)

    async def all(self, prefix: str, kind: type[StateT]) -> list[Kept[StateT]]:
        """Return all entries whose keys begin with `prefix`."""
        return [
            Kept(key, version, state)
            async for _, key, version, state in entries_of(self._access, self.name, prefix, kind)
        ]

    async def find(self, key: str, kind: type[StateT]) -> Kept[StateT] | None:
        """Return an entry, or None."""
        found = await self._access.list_entries(self.name, key, None, 1)
        if found and found[0].key == key:
            return Kept(key, found[0].version, msgspec.json.decode(found[0].data, type=kind))
        return None

    async def save(self, key: str, state: StateT, expected: int) -> bool:
        """Keep a state if the version of its entry is the one expected (0: there is none); tell whether it was."""
        return await self._access.save_entry(self.name, key, msgspec.json.encode(state), expected) == expected

    async def remove(self, key: str, expected: int) -> bool:
        """Remove an entry if its version is the one expected; tell whether it was."""
        return await self._access.save_entry(self.name, key, None, expected) == expected


def is_to_be_replayed(parked: Iterable[Kept[Parked]]) -> bool:
    """Tell whether any parked event is to be handled again, and waits behind none of its stream that failed."""
    held: set[str] = set()
    for kept in parked:
        if kept.state.state == FAILED and kept.state.holds:
            held.add(kept.state.stream_id)
        elif kept.state.state != FAILED and kept.state.stream_id not in held:
            return True
    return False


async def entries_of(
    access: Access, name: str | None, prefix: str, kind: type[StateT]
) -> AsyncIterator[tuple[str, str, int, StateT]]:
    """Yield name, key, version and state of the entries of one consumer, or of all (None)."""
    after: tuple[str, str] | None = None
    while True:
        page = await access.list_entries(name, prefix, after, PAGE)
        for entry in page:
            yield entry.name, entry.key, entry.version, msgspec.json.decode(entry.data, type=kind)
        if len(page) < PAGE:
            return
        after = page[-1].name, page[-1].key

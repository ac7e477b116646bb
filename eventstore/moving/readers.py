"""Bringing checkpoints and consumers into another store, where positions are others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventstore.errors import ImportConflict
from eventstore.events import decode_json
from eventstore.ledger import PARKED, PARTITION, SETTINGS, Ledger, Parked, Partition, Settings, StoreEntries
from eventstore.moving.entries import parse_entry
from eventstore.moving.log import Log
from eventstore.moving.positions import Positions
from eventstore.moving.records import Checkpoint, ConsumerEntry

if TYPE_CHECKING:
    from eventstore.store import EventStore

OTHER_EVENTS: Final = (
    "this store has other events before or among those of the export, and checkpoints and consumers tell by positions "
    "how far they have come: import into an empty store, or without them (consumers=False, --without-consumers)"
)


class Readers:
    """The way of checkpoints and consumers into a store that has the events; `update` replaces what it has of them."""

    def __init__(self, store: EventStore, positions: Positions, *, update: bool) -> None:
        self.checkpoints = 0
        self.consumers = 0
        self.lost_parked = 0
        self._kept: set[tuple[str, str]] = set()
        self._store = store
        self._entries = StoreEntries(store)
        self._positions = positions
        self._update = update
        self._is_alone = False
        self._present: dict[str, bool] = {}
        # Of the consumer in hand, what was saved.
        self._keys: set[str] = set()

    @property
    def kept(self) -> int:
        """How many checkpoints and consumers the store has, otherwise than the export, and keeps."""
        return len(self._kept)

    async def check_log_is_alone(self, line: int, expected: int) -> None:
        """Refuse a log that has more events, up to the last one of the export, than are expected."""
        if self._is_alone or not self._positions.are_wanted:
            return
        found = 0
        async for events in Log(self._store._backend, self._store._while_open, self._positions.last).pages():
            found += len(events)
        if found != expected:
            raise ImportConflict(line, OTHER_EVENTS)
        self._is_alone = True

    async def save_checkpoint(self, line: int, checkpoint: Checkpoint) -> None:
        """Save a checkpoint where there is none of its name, or in its place."""
        name, position = checkpoint.name, self._positions.here(checkpoint.position)
        found = await self._save_checkpoint(name, position, 0)
        if found == position:
            return
        if found and not self._update:
            self._kept.add(("checkpoint", name))
            return
        if found and await self._save_checkpoint(name, position, found) != found:
            raise ImportConflict(line, f"others move checkpoint {name!r} meanwhile")
        self.checkpoints += 1

    async def _save_checkpoint(self, name: str, position: int, expected: int) -> int:
        return await self._store._once(self._store._backend.save_checkpoint, name, position, expected)

    async def save_entry(self, line: int, entry: ConsumerEntry) -> None:
        """Save an entry of a consumer; its settings come last, and make a consumer of what is there."""
        state = parse_entry(entry.key, entry.data)
        position = self._positions.here(state.position)
        if state.is_parked and not self._positions.is_of_event(state.position):
            self.lost_parked += 1
            return
        key, data = state.key_at(position), state.data_at(position)
        if not self._update and await self._is_present(entry.name):
            found = await self._entries.list_entries(entry.name, key, None, 1)
            if not found or decode_json(found[0].data) != decode_json(data):
                self._kept.add(("consumer", entry.name))
            return
        if not await self._save_entry(entry.name, key, data):
            raise ImportConflict(line, f"consumer {entry.name!r} is at work here: stop it, and import again")
        self._keys.add(key)
        if isinstance(state.kept, Settings):
            self.consumers += 1
            await self._forget_others(entry.name)
            self._keys.clear()

    async def _save_entry(self, name: str, key: str, data: bytes) -> bool:
        """Save an entry, also in place of one that is not somebody's; tell whether it was."""
        found = await self._entries.save_entry(name, key, data, 0)
        if found == 0:
            return True
        # Without settings it was left by an import. With settings, a consumer has begun meanwhile.
        if not self._update and (key == SETTINGS or await self._has_begun(name)):
            return False
        return await self._entries.save_entry(name, key, data, found) == found

    async def _is_present(self, name: str) -> bool:
        if name not in self._present:
            self._present[name] = await self._has_begun(name)
        return self._present[name]

    async def _has_begun(self, name: str) -> bool:
        return await Ledger(name, self._entries).find(SETTINGS, Settings) is not None

    async def _forget_others(self, name: str) -> None:
        """Forget what an earlier import left of a consumer and the export does not have: events replayed since, say."""
        ledger = Ledger(name, self._entries)
        found = [(kept.key, kept.version) for kept in await ledger.all(PARKED, Parked)]
        found += [(kept.key, kept.version) for kept in await ledger.all(PARTITION, Partition)]
        for key, version in found:
            if key not in self._keys:
                await ledger.remove(key, version)

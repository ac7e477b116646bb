"""What mutants are built on: sound stores, and the parts that several mutants change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from eventstore import Capability, ExpectedVersion
from eventstore.backend import EncodedEvent, Outcome, StreamAppend, Transaction
from eventstore.watching import Look, Watch
from eventstore_memory import MemoryBackend
from eventstore_memory.state import State, utc_now


class CarelessState(State):
    """A state whose copies, made for transactions, are of its own kind."""

    def copy(self) -> State:
        copy = super().copy()
        copy.__class__ = type(self)
        return copy


class Database:
    """What the stores of one test share."""

    def __init__(self) -> None:
        self.state = State(utc_now)
        self.writing = asyncio.Lock()


class SharedMemory(MemoryBackend):
    """Stores on one database: sound, durable and shared as long as the process lives."""

    capabilities = MemoryBackend.capabilities | {Capability.DURABLE, Capability.SHARED}

    def __init__(self, database: Database) -> None:
        # The base class would begin with an empty state of its own.
        self.database = database
        self._writing = database.writing
        self._watch = Watch(self._look)

    async def _look(self) -> Look:
        # Another store may have appended.
        return Look(self._state.head, 0.005)

    @property
    def _state(self) -> State:
        return self.database.state

    @_state.setter
    def _state(self, state: State) -> None:
        self.database.state = state


class DistantMemory(MemoryBackend):
    """A sound store that is some turns of the event loop away, so that groups form; each call is one commit."""

    capabilities = MemoryBackend.capabilities | {Capability.GROUP_COMMIT, Capability.CONCURRENT_CALLS}

    async def append(self, transactions: Sequence[Transaction]) -> Sequence[Outcome]:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().append(transactions)


SOUND: tuple[type[Any], ...] = (MemoryBackend, SharedMemory, CarelessState, DistantMemory)


def expecting(transaction: Transaction, expect: Callable[[StreamAppend], ExpectedVersion]) -> Transaction:
    """Return a transaction with other expectations."""
    return [msgspec.structs.replace(append, expected_version=expect(append)) for append in transaction]


def with_events(transaction: Transaction, change: Callable[[EncodedEvent], EncodedEvent]) -> Transaction:
    """Return a transaction with other events."""
    return [msgspec.structs.replace(append, events=tuple(map(change, append.events))) for append in transaction]


def walked(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a JSON value with every key and every value in it changed, the innermost first."""
    if isinstance(value, dict):
        return change({change(key): walked(item, change) for key, item in value.items()})
    if isinstance(value, list):
        return change([walked(item, change) for item in value])
    return change(value)

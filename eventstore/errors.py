"""Everything eventstore raises on purpose, under one root.

Each error carries its facts as attributes and says in one sentence what was wrong and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from eventstore.events import RecordedEvent
    from eventstore.versions import ExpectedVersion


class EventStoreError(Exception):
    """The root of every error that eventstore raises on purpose."""


# --- What the caller passed ------------------------------------------------------------------------------------------


class InvalidArgument(EventStoreError, ValueError):
    """An argument is out of its range or of the wrong type; nothing was read or written."""

    def __init__(self, argument: str, value: object, expectation: str) -> None:
        self.argument = argument
        self.value = value
        self.expectation = expectation
        super().__init__(f"invalid {argument} {shortened(value)}: {expectation}")


class InvalidEvent(EventStoreError, ValueError):
    """An event cannot be stored as it is; nothing was written.

    `path` points to the fault inside the event, e.g. `$.data.items[0].price`.
    """

    def __init__(self, path: str, reason: str, *, event_id: object = None) -> None:
        self.path = path
        self.reason = reason
        self.event_id = event_id
        super().__init__(f"invalid event at {_shorten_middle(path)}: {reason}")


class InvalidExport(EventStoreError, ValueError):
    """A file is not what `EventStore.export` makes of a store, or was cut short or changed.

    `line` counts from 1. The file is checked before anything is written; only where it is changed between its two
    readings may some of it be stored by then.
    """

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line} of the export is wrong: {reason}")


class InvalidUrl(EventStoreError, ValueError):
    """A store URL, or an option in it, is not understood. The message never shows credentials."""


class UnknownScheme(InvalidUrl):
    """No installed backend answers to the URL's scheme."""

    def __init__(self, scheme: str, installed: Sequence[str]) -> None:
        self.scheme = scheme
        self.installed = tuple(installed)
        names = ", ".join(f"{name}://" for name in installed) or "none"
        super().__init__(
            f"no backend for {scheme}://; installed are: {names}. Check the spelling, or install the backend's package."
        )


class UnknownOption(InvalidUrl):
    """The URL or the call to `open_store` names an option that the backend does not have."""

    def __init__(self, option: str, known: Sequence[str]) -> None:
        self.option = option
        self.known = tuple(sorted(known))
        options = ", ".join(self.known) or "none"
        super().__init__(f"unknown option {option!r}; this backend knows: {options}")


class MissingExtra(EventStoreError, ImportError):
    """The backend is there, but a package that it needs is not."""

    def __init__(self, scheme: str, package: str, requirement: str) -> None:
        self.scheme = scheme
        self.package = package
        self.requirement = requirement
        super().__init__(f"{scheme}:// needs the package {package!r}. Install it: pip install '{requirement}'")


# --- What the store found --------------------------------------------------------------------------------------------


class VersionMismatch(NamedTuple):
    """One expectation that a stream did not meet: what was expected, and the version the stream is at."""

    stream_id: str
    expected: ExpectedVersion
    actual: int


class WrongExpectedVersion(EventStoreError):
    """A stream is not at the version its writer expected; nothing was written.

    `mismatches` lists every failed expectation of an `append_many`; `stream_id`, `expected` and `actual` are those of
    the first. Load the stream again, decide again, and append with the version you then see.
    """

    def __init__(self, mismatches: Sequence[VersionMismatch]) -> None:
        self.mismatches = tuple(mismatches)
        self.stream_id, self.expected, self.actual = self.mismatches[0]
        found = "; ".join(
            f"stream {stream_id!r} was expected at {expected!r} and is at version {actual}"
            for stream_id, expected, actual in self.mismatches
        )
        super().__init__(f"{found}. Nothing was written: load again, decide again, then append.")


class DuplicateEventId(EventStoreError):
    """Event ids are already stored, and this is not the same batch sent again; nothing was written.

    `event_ids` are the ids in question.
    """

    def __init__(self, event_ids: Sequence[UUID], reason: str) -> None:
        self.event_ids = tuple(event_ids)
        self.reason = reason
        ids = ", ".join(map(str, self.event_ids))
        super().__init__(f"event ids already stored: {ids} ({reason}). Nothing was written: give new events new ids.")


class StreamDeleted(EventStoreError):
    """The stream was deleted. Its id stays taken: choose another id for a new stream."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        super().__init__(f"stream {stream_id!r} was deleted; its id cannot be used again, choose another")


class ImportConflict(EventStoreError):
    """What a store has stands against what is to be imported into it.

    `line` is the one of the export that cannot be stored. What was stored before stays; a note of the error tells how
    many events. `stream_id` is None where it is not a matter of one stream.
    """

    def __init__(self, line: int, reason: str, *, stream_id: str | None = None) -> None:
        self.line = line
        self.reason = reason
        self.stream_id = stream_id
        super().__init__(f"the import stopped at line {line} of the export: {reason}")


class CheckpointConflict(EventStoreError):
    """Somebody else moved the checkpoint; it was left as it is. Load it again before going on."""

    def __init__(self, name: str, expected: int, actual: int) -> None:
        self.name = name
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"checkpoint {name!r} was expected at {expected} and is at {actual}: somebody else moved it. Load it again."
        )


class HandlerFailed(EventStoreError):
    """A consumer's handler could not handle an event; it is chained to what the handler raised last.

    The event was not passed: the next run begins with it.
    """

    def __init__(self, consumer: str, event: RecordedEvent, attempts: int) -> None:
        self.consumer = consumer
        self.event = event
        self.attempts = attempts
        super().__init__(
            f"consumer {consumer!r} stopped at event {event.version} of stream {event.stream_id!r} (position "
            f"{event.global_position}) after {attempts} attempts: mend the handler and run it again, or choose an "
            "`on_error` that parks events"
        )


class ConsumerReplaced(EventStoreError):
    """Another consumer has taken this one's place: see `EventStore.consumer(replaces=…)`. Do not run it any more."""

    def __init__(self, consumer: str, replaced_by: str) -> None:
        self.consumer = consumer
        self.replaced_by = replaced_by
        super().__init__(f"consumer {consumer!r} was replaced by {replaced_by!r}: run that one, or reset this one")


# --- How the store is used -------------------------------------------------------------------------------------------


class StoreNotOpen(EventStoreError):
    """The store was not opened yet, or is closed already."""

    def __init__(self, store: str, *, closed: bool) -> None:
        self.closed = closed
        state = "is closed" if closed else "is not open yet"
        super().__init__(f"{store} {state}: use it inside `async with open_store(...) as store:`")


class OpenedElsewhere(EventStoreError):
    """The store was opened by another event loop or thread, or, where `forked` is true, by the parent process.

    Nothing was read or written, and the store goes on for those who opened it.
    """

    def __init__(self, store: str, *, forked: bool) -> None:
        self.forked = forked
        if forked:
            reason = "was opened before this process was forked: open a store in each process"
        else:
            reason = (
                "was opened in another event loop: use it there (from a thread, by asyncio.run_coroutine_threadsafe), "
                "or open a store in each loop"
            )
        super().__init__(f"{store} {reason}")


class CapabilityNotSupported(EventStoreError):
    """The backend does not claim what was asked of it."""

    def __init__(self, backend: str, capability: str) -> None:
        self.backend = backend
        self.capability = capability
        super().__init__(f"the {backend} backend does not support {capability}")


class TransactionError(EventStoreError):
    """A transaction was used where it cannot be: after its end, or around another write of the same task."""


class TransactionConflict(EventStoreError):
    """A transaction's snapshot is too old to place its events. Roll it back and run it again from the start."""


# --- What the database says ------------------------------------------------------------------------------------------


class StoreUnavailable(EventStoreError):
    """The database cannot be reached, or was lost in the middle of a call.

    `outcome_unknown` is true where the call may have been carried out all the same. An append is safe to repeat with
    the same event ids: it then returns its true outcome.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        self.outcome_unknown = outcome_unknown
        hint = " Whether the call took effect is unknown; repeating an append with the same event ids is safe."
        super().__init__(message + (hint if outcome_unknown else ""))


class PoolExhausted(StoreUnavailable):
    """All connections are in use, and none became free in time; nothing was sent to the database.

    `size`: how many connections there may be. `in_use`: how many are lent. `waiting`: how many other calls wait for
    one. `timeout`: for how many seconds this one did.
    """

    def __init__(self, *, size: int, in_use: int, waiting: int, timeout: float) -> None:
        self.size = size
        self.in_use = in_use
        self.waiting = waiting
        self.timeout = timeout
        super().__init__(
            f"no connection to the database became free within {timeout:g} seconds: {in_use} of {size} are in use, and "
            f"{waiting} other calls wait for one. Keep transactions short, or allow more connections."
        )

    def __copy__(self) -> PoolExhausted:
        return PoolExhausted(size=self.size, in_use=self.in_use, waiting=self.waiting, timeout=self.timeout)


class StoreReadOnly(EventStoreError):
    """The database refuses writes: a read-only file or server, or a role without the right."""


class StorageError(EventStoreError):
    """The database failed in a way that repeating will not mend: a corrupt file, a full disk, a broken constraint."""


class SchemaError(EventStoreError):
    """What the database holds is not a store that this version can use safely."""


class SchemaTooNew(SchemaError):
    """A newer version of the backend wrote this schema. Upgrade its package; the schema is never downgraded."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"the store's schema is version {found}, the backend installed here knows up to {known}: "
            "upgrade the package that brings the backend"
        )


class SchemaOutdated(SchemaError):
    """The schema is missing or older than this version needs, and migrating on open is switched off."""

    def __init__(self, found: int, needed: int) -> None:
        self.found = found
        self.needed = needed
        state = "has no schema yet" if found == 0 else f"has schema version {found}"
        super().__init__(
            f"the store {state}, version {needed} is needed: call migrate() with the right to change the schema"
        )


def shortened(value: object, limit: int = 80) -> str:
    """Return what a message shows of a value that was passed in, whatever that is."""
    try:
        text = ascii(value)
    except Exception:
        # An integer of thousands of digits, or a `__repr__` that fails.
        text = f"of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[:limit]}…"


def _shorten_middle(path: str, limit: int = 100) -> str:
    """Show both ends of a path: where the payload is, and where in it the fault is."""
    path = path.encode("utf-8", "backslashreplace").decode()
    return path if len(path) <= limit else f"{path[: limit // 2]}…{path[-limit // 2 :]}"

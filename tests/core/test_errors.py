"""Each error carries its facts and says in one sentence what was wrong and what to do."""

from copy import copy
from uuid import UUID

import pytest

import eventstore
import eventstore.errors
from eventstore import (
    ANY,
    NO_STREAM,
    CapabilityNotSupported,
    CheckpointConflict,
    DuplicateEventId,
    EventStoreError,
    InvalidArgument,
    InvalidEvent,
    InvalidUrl,
    MissingExtra,
    PoolExhausted,
    SchemaOutdated,
    SchemaTooNew,
    StoreNotOpen,
    StoreUnavailable,
    StreamDeleted,
    UnknownOption,
    UnknownScheme,
    VersionMismatch,
    WrongExpectedVersion,
)

ERRORS: list[tuple[EventStoreError, dict[str, object], str]] = [
    (
        InvalidArgument("limit", -1, "it must be at least 0"),
        {"argument": "limit", "value": -1, "expectation": "it must be at least 0"},
        "invalid limit -1: it must be at least 0",
    ),
    (
        InvalidEvent("$.data.x", "nan is not a JSON number", event_id=UUID(int=1)),
        {"path": "$.data.x", "reason": "nan is not a JSON number", "event_id": UUID(int=1)},
        "invalid event at $.data.x: nan is not a JSON number",
    ),
    (UnknownScheme("redis", ["memory"]), {"scheme": "redis", "installed": ("memory",)}, "installed are: memory://"),
    (UnknownOption("pgae", ["b", "a"]), {"option": "pgae", "known": ("a", "b")}, "this backend knows: a, b"),
    (
        MissingExtra("sqlite", "aiosqlite", "eventstore-kit[sqlite]"),
        {"scheme": "sqlite", "package": "aiosqlite", "requirement": "eventstore-kit[sqlite]"},
        "pip install 'eventstore-kit[sqlite]'",
    ),
    (
        WrongExpectedVersion([VersionMismatch("a-1", NO_STREAM, 3), VersionMismatch("b-1", 5, 0)]),
        {"stream_id": "a-1", "expected": NO_STREAM, "actual": 3, "mismatches": (("a-1", NO_STREAM, 3), ("b-1", 5, 0))},
        "stream 'a-1' was expected at NO_STREAM and is at version 3; stream 'b-1' was expected at 5",
    ),
    (
        DuplicateEventId([UUID(int=1)], "only a part of the batch is stored"),
        {"event_ids": (UUID(int=1),), "reason": "only a part of the batch is stored"},
        "00000000-0000-0000-0000-000000000001 (only a part of the batch is stored)",
    ),
    (StreamDeleted("a-1"), {"stream_id": "a-1"}, "stream 'a-1' was deleted"),
    (
        CheckpointConflict("reader", 5, 7),
        {"name": "reader", "expected": 5, "actual": 7},
        "checkpoint 'reader' was expected at 5 and is at 7",
    ),
    (StoreNotOpen("<EventStore>", closed=True), {"closed": True}, "<EventStore> is closed"),
    (StoreNotOpen("<EventStore>", closed=False), {"closed": False}, "<EventStore> is not open yet"),
    (
        CapabilityNotSupported("memory", "bind()"),
        {"backend": "memory", "capability": "bind()"},
        "the memory backend does not support bind()",
    ),
    (StoreUnavailable("gone."), {"outcome_unknown": False}, "gone."),
    (StoreUnavailable("gone.", outcome_unknown=True), {"outcome_unknown": True}, "the same event ids is safe"),
    (SchemaTooNew(5, 3), {"found": 5, "known": 3}, "upgrade the package that brings the backend"),
    (SchemaOutdated(0, 3), {"found": 0, "needed": 3}, "has no schema yet"),
    (SchemaOutdated(2, 3), {"found": 2, "needed": 3}, "has schema version 2, version 3 is needed: call migrate()"),
]


@pytest.mark.parametrize(("error", "facts", "message"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_has_its_facts_and_says_them(error: EventStoreError, facts: dict[str, object], message: str) -> None:
    assert {name: getattr(error, name) for name in facts} == facts
    assert message in str(error)


def test_every_error_is_public_and_has_the_one_root() -> None:
    defined = [value for value in vars(eventstore.errors).values() if isinstance(value, type)]
    raised = [error for error in defined if issubclass(error, BaseException)]
    assert raised
    for error in raised:
        assert issubclass(error, EventStoreError)
        assert error.__name__ in eventstore.__all__


def test_an_exhausted_pool_is_copied_with_its_figures() -> None:
    error = copy(PoolExhausted(size=4, in_use=3, waiting=2, timeout=1))
    assert (error.size, error.in_use, error.waiting, error.timeout) == (4, 3, 2, 1)


def test_bad_arguments_are_value_errors_as_well() -> None:
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(InvalidEvent, ValueError)
    assert issubclass(InvalidUrl, ValueError)
    assert issubclass(MissingExtra, ImportError)


def test_long_values_are_shortened_and_odd_ones_escaped() -> None:
    assert len(str(InvalidArgument("stream_id", "x" * 10_000, "too long"))) < 150
    assert len(str(InvalidEvent("$.data" + ".x" * 10_000, "too deep"))) < 200
    for error in (InvalidArgument("stream_id", "\ud800", "no"), InvalidEvent("$.data.\ud800", "no")):
        str(error).encode()


def test_expectations_read_as_they_are_written() -> None:
    assert (repr(ANY), repr(NO_STREAM)) == ("ANY", "NO_STREAM")

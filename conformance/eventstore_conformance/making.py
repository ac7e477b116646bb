"""Making what tests append: events, batches, and names that are sound, peculiar or bad."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from eventstore import ExpectedVersion, JsonObject, NewEvent


def an_event(event_type: str = "Happened", data: JsonObject | None = None, **fields: Any) -> NewEvent:
    """Return a new event; `fields` are `metadata` and `event_id`."""
    return NewEvent(event_type, {"n": 1} if data is None else data, **fields)


def some_events(count: int) -> list[NewEvent]:
    """Return a batch of so many different events."""
    return [an_event(data={"n": n}, metadata={"of": count}) for n in range(count)]


def fresh(prefix: str) -> str:
    """Return a stream id of type `prefix` that no other test or example uses."""
    return f"{prefix}-{uuid4().hex}"


def nested(levels: int) -> Any:
    """Return an object with arrays and objects nested in turn, so many levels deep in all."""
    value: Any = {}
    for level in range(1, levels):
        value = [value] if (levels - level) % 2 == 0 else {"x": value}
    return value


def object_of_size(size: int) -> JsonObject:
    """Return an object whose JSON text has so many bytes."""
    return {"text": "x" * (size - len('{"text":""}'))}


MIB: Final = 1024 * 1024

PECULIAR_NAMES: Final = (
    "it's",
    'say "so"',
    "100%",
    "under_score",
    "back\\slash",
    "$1 $$ $tag$",
    "{0} %s %(x)s :x ?",
    "semi;colon -- comment /*",
    "../../etc",
    "null",
    "*",
    " spaces around ",
    "-dash first",
    "two-dashes-here",
    "שלום-עולם",
    "مرحبا",
    "\u202eoverride",
    "👩‍👩‍👧‍👦-1",
    "e\u0301 combined",
    "\ufeffmark",
    "\u2028line",
    "\ud7ff\ue000",
    "\uffff",
    "\U0010ffff",
    "x" * 255,
    "🎈" * 255,
)
"""Names that are names like any other."""

LOOKALIKES: Final = (
    ("pair-1", "pair-2"),
    ("Case", "case"),
    ("İ", "i"),
    ("straße", "strasse"),
    ("caf\u00e9", "cafe\u0301"),
    ("\ufb01", "fi"),
    ("1", "\uff11"),
    ("space", "space "),
    ("zero", "ze\u200bro"),
    ("x" * 254 + "a", "x" * 254 + "b"),
)
"""Pairs of names that are different names."""

BAD_NAMES: Final[tuple[Any, ...]] = (
    "",
    "x" * 256,
    "nul\0",
    "new\nline",
    "tab\t",
    "\x7f",
    "\x85",
    "\ud800",
    "pair \udc00",
    None,
    1,
    b"bytes",
    UUID(int=1),
)
"""What is no name."""

BAD_VERSIONS: Final[tuple[Any, ...]] = (None, "1", 1.0, True, -1, 2**63, b"1", [1], datetime(2020, 1, 1, tzinfo=UTC))
"""What is no expected version."""

BAD_COUNTS: Final[tuple[Any, ...]] = (-1, 2**63, True, "1", 1.0)
"""What is no number of events, no version and no position."""


def after(version: int, expectation: ExpectedVersion | str) -> ExpectedVersion:
    """Return `version` where a table of cases says "exact", and the expectation itself elsewhere."""
    return version if isinstance(expectation, str) else expectation

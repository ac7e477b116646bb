"""The two event records, and the one JSON data model that every backend stores.

A payload is checked here, once, so that a test in memory refuses exactly what Postgres would.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from eventstore.errors import InvalidEvent, shortened

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object: string keys; values are objects, arrays (`list`), strings, booleans, None, 64-bit integers and finite
floats, nested at most `MAX_DEPTH` deep."""

MAX_DEPTH: Final = 100
"""How deep objects and arrays may nest, the payload itself being the first level."""

DEFAULT_MAX_EVENT_SIZE: Final = 1024 * 1024
"""The largest data, and the largest metadata, in bytes of JSON text, unless the store is opened with another limit."""

_event_ids: ContextVar[Callable[[], UUID]] = ContextVar("event_ids", default=uuid7)


@contextmanager
def event_ids_from(make_id: Callable[[], UUID]) -> Iterator[None]:
    """Let `make_id` name the events created inside the `with` block, in place of UUIDv7, for tests that repeat."""
    token = _event_ids.set(make_id)
    try:
        yield
    finally:
        _event_ids.reset(token)


def _new_event_id() -> UUID:
    return _event_ids.get()()


class NewEvent(msgspec.Struct, frozen=True):
    """An event that is yet to be appended.

    `data` and `metadata` are JSON objects; they are checked and copied when the event is appended. `event_id` makes the
    append safe to repeat; by default it is a new UUIDv7, which keeps index inserts local.
    """

    event_type: str
    data: JsonObject
    metadata: JsonObject = msgspec.field(default_factory=dict)
    event_id: UUID = msgspec.field(default_factory=_new_event_id)


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event as the store keeps it.

    `version` counts 1, 2, 3 … within its stream. `global_position` is opaque: it grows along the log; compare it and
    store it, never compute with it. `created_at` is the store's clock, in UTC. `data` and `metadata` belong to whoever
    holds the record: changing them changes nothing in the store.
    """

    stream_id: str
    stream_type: str
    version: int
    global_position: int
    event_id: UUID
    event_type: str
    data: JsonObject
    metadata: JsonObject
    created_at: datetime

    def __hash__(self) -> int:
        return hash(self.event_id)


def stream_type_of(stream_id: str) -> str:
    """Return the stream's type: what stands before the first `-` of its id, or the whole id where there is none."""
    return stream_id.partition("-")[0]


def caused_by(event: RecordedEvent, metadata: JsonObject | None = None) -> JsonObject:
    """Return `metadata` with `causation_id` set to the event and `correlation_id` to the conversation it belongs to."""
    correlation_id = event.metadata.get("correlation_id", str(event.event_id))
    return {**(metadata or {}), "correlation_id": correlation_id, "causation_id": str(event.event_id)}


# --- The JSON data model ---------------------------------------------------------------------------------------------

decode_json = msgspec.json.Decoder().decode
"""Decode JSON text (`str` or UTF-8 `bytes`) that `encode_json_object` made."""

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode

# Maps every digit to 0: two passes at C speed then find a long number four times as fast as a regular expression.
_DIGITS_TO_ZERO: Final = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def encode_json_object(value: object, max_size: int, path: str = "$") -> tuple[bytes, JsonObject]:
    """Check a payload against the data model; return its JSON text and a copy that shares nothing with `value`.

    Raises `InvalidEvent` with the path of the first fault, `path` naming the payload itself.
    """
    if not isinstance(value, dict):
        raise InvalidEvent(path, f"a JSON object (dict) is needed, not {type(value).__name__}")
    if not value:
        return b"{}", {}
    try:
        text = _encode(value)
        copy = decode_json(text)
        # The encoder turns NaN into null, integer keys into strings and tuples into arrays without a word: whatever it
        # changed differs from the original. Depth cannot exceed the number of opening brackets.
        is_sound = copy == value and not _is_suspect(text) and text.count(b"{") + text.count(b"[") <= MAX_DEPTH
    except (TypeError, ValueError, RecursionError, OverflowError):
        text, copy, is_sound = b"", {}, False
    if not is_sound:
        text = _encode(_walk(value, path, 1))
        copy = decode_json(text)
    if len(text) > max_size:
        raise InvalidEvent(path, f"its JSON text is {len(text):,} bytes, the limit is {max_size:,}")
    return text, copy


def canonical_json(value: JsonObject) -> bytes:
    """Return the one JSON text of a payload, keys sorted, so that equal payloads have equal texts and 1 is not 1.0."""
    return _encode_sorted(value)


def _is_suspect(text: bytes) -> bool:
    """Tell whether JSON text has parts that are a fault or no fault depending on where they stand.

    NUL reaches no Postgres text; a minus zero becomes zero, as JSONB has none; 19 digits may be more than 64 bits.
    """
    return b"\\u0000" in text or b"-0.0" in text or b"0000000000000000000" in text.translate(_DIGITS_TO_ZERO)


def _walk(value: object, path: str, depth: int) -> object:
    """Return a plain copy of a JSON value with minus zero made zero, or raise `InvalidEvent` at the first fault."""
    match value:
        case None | bool():
            return value
        case str():
            return _walk_string(value, path)
        case int():
            if not -(2**63) <= value < 2**63:
                raise InvalidEvent(path, "the integer does not fit 64 bits (signed)")
            return int(value)
        case float():
            if not math.isfinite(value):
                raise InvalidEvent(path, f"{value} is not a JSON number")
            return float(value) + 0.0
        case list() | dict() if depth > MAX_DEPTH:
            raise InvalidEvent(path, f"nested deeper than {MAX_DEPTH} levels")
        case list():
            return [_walk(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        case dict():
            return {_walk_key(key, path): _walk(item, f"{path}{_step(key)}", depth + 1) for key, item in value.items()}
        case _:
            raise InvalidEvent(path, f"{type(value).__name__} is no JSON type")


def _walk_string(text: str, path: str) -> str:
    if "\0" in text:
        raise InvalidEvent(path, "the string contains \\u0000")
    if _SURROGATE.search(text):
        raise InvalidEvent(path, "the string contains a lone surrogate")
    return str.__str__(text)


def _walk_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidEvent(path, f"the key {shortened(key)} is {type(key).__name__}, keys are strings")
    return _walk_string(key, f"{path}{_step(key)}")


def _step(key: str) -> str:
    return f".{key}" if _PLAIN_KEY.match(key) else f"[{key!a}]"

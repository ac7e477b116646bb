"""The SQL of sql/*.sql, and the assembly of queries whose shape depends on what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from eventstore.arguments import MAX_NAME_LENGTH
from eventstore.backend import Direction
from eventstore.events import stream_type_of
from eventstore.filters import Filter, wanted_ids
from eventstore_sqlite.records import microseconds
from eventstore_sqlite.statements import Parameters

MAX_INTEGER: Final = 2**63 - 1
"""The largest integer of SQLite."""

_MOST_MERGED_TYPES: Final = 8
"""Up to so many types are read through an index and merged; more are looked for by reading through the log."""


def _sql(name: str) -> str:
    text = files("eventstore_sqlite").joinpath("sql", f"{name}.sql").read_text("utf-8")
    for fragment in ("event_columns", "no_event"):
        if f"{{{fragment}}}" in text:
            columns = _sql(fragment).partition("\n")[2].strip()
            text = text.replace(f"{{{fragment}}}", columns.replace("\n", " "))
    return text


APPEND: Final = _sql("append")
APPEND_EVENT: Final = _sql("append_event")
CONFLICT: Final = _sql("conflict")
RESTORE: Final = _sql("restore")
STREAMS: Final = _sql("streams")
KEEP_LIFECYCLE: Final = _sql("keep_lifecycle")
REMOVE_EVENTS: Final = _sql("remove_events")
LOAD_SNAPSHOT: Final = _sql("load_snapshot")
SAVE_SNAPSHOT: Final = _sql("save_snapshot")
DELETE_SNAPSHOTS: Final = _sql("delete_snapshots")
LOAD_CHECKPOINT: Final = _sql("load_checkpoint")
SAVE_CHECKPOINT: Final = _sql("save_checkpoint")
LIST_ENTRIES: Final = _sql("list_entries")
LIST_ENTRIES_OF_ONE: Final = _sql("list_entries_of_one")
SAVE_ENTRY: Final = _sql("save_entry")
REMOVE_ENTRY: Final = _sql("remove_entry")
ENTRY_VERSION: Final = _sql("entry_version")
HEAD: Final = _sql("head")
LIST_PLACES: Final = _sql("list_places")
LIST_SNAPSHOTS: Final = _sql("list_snapshots")
LIST_CHECKPOINTS: Final = _sql("list_checkpoints")
SKIP_POSITIONS: Final = _sql("skip_positions")

_ORDER: Final = {Direction.FORWARD: "ASC", Direction.BACKWARD: "DESC"}
_READ_STREAM: Final = _sql("read_stream")
READ_STREAM: Final = {direction: _READ_STREAM.format(order=order) for direction, order in _ORDER.items()}

# --- The log, filtered -----------------------------------------------------------------------------------------------

_READ_ALL: Final = _sql("read_all")
_READ_ALL_BY_TYPE: Final = _sql("read_all_by_type")

# One for each parameter that a filter may set. The + keeps SQLite from reading by that column's index, and sorting.
_CONDITIONS: Final = {
    "stream_types": "AND +stream_type IN (SELECT value FROM json_each(:stream_types))",
    "event_types": "AND +event_type IN (SELECT value FROM json_each(:event_types))",
    # Plain text, unlike LIKE and GLOB; both count characters.
    "prefix": "AND substr(stream_id, 1, length(:prefix)) = :prefix",
    "created_from": "AND created_at >= :created_from",
    "created_to": "AND created_at <= :created_to",
}


def log_page(start: int | None, limit: int, direction: Direction, filter: Filter | None) -> tuple[str, Parameters]:
    """Return the query for a page of the log, and its parameters."""
    first, last = 0, MAX_INTEGER
    if start is not None and direction is Direction.FORWARD:
        first = min(start + 1, MAX_INTEGER)
    elif start is not None:
        last = start - 1
    parameters: dict[str, object] = {"first": first, "last": last, "limit": limit}
    wanted = {} if filter is None else _wanted(filter)
    by_type: str | None = None
    for name, column in (("stream_types", "stream_type"), ("event_types", "event_type")):
        types = wanted.get(name)
        if by_type is None and isinstance(types, list) and len(types) <= _MOST_MERGED_TYPES:
            by_type = column
            parameters["types"] = msgspec.json.encode(wanted.pop(name)).decode()
    for name, value in wanted.items():
        parameters[name] = msgspec.json.encode(value).decode() if isinstance(value, list) else value
    return _log_query(by_type, tuple(wanted), direction), parameters


def _wanted(filter: Filter) -> dict[str, object]:
    """Return the conditions of a filter that are set, as parameters."""
    stream_types, prefix = filter.stream_types, filter.stream_id_prefix
    if prefix is not None and "-" in prefix:
        # The prefix tells the type, which has an index.
        implied = stream_type_of(prefix)
        stream_types = [implied] if stream_types is None or implied in stream_types else []
    values: Mapping[str, object] = {
        "stream_types": None if stream_types is None else list(stream_types),
        "event_types": None if filter.event_types is None else list(filter.event_types),
        "prefix": prefix,
        "created_from": None if filter.created_from is None else microseconds(filter.created_from),
        "created_to": None if filter.created_to is None else microseconds(filter.created_to),
    }
    return {name: value for name, value in values.items() if value is not None}


@cache
def _log_query(by_type: str | None, conditions: tuple[str, ...], direction: Direction) -> str:
    """Put a query together, from constant pieces only."""
    template = _READ_ALL if by_type is None else _READ_ALL_BY_TYPE
    text = "\n        ".join(_CONDITIONS[name] for name in conditions)
    return template.format(type_column=by_type, conditions=text, order=_ORDER[direction])


# --- Streams by id ---------------------------------------------------------------------------------------------------

# What follows every name that begins alike: no name is that long, and no character is higher.
_BEYOND: Final = "\U0010ffff" * (MAX_NAME_LENGTH + 1)
# What precedes every name that goes on: no name has a character so low.
_NEXT: Final = "\x01"


def one_stream(stream_id: str) -> Parameters:
    """Return the parameters of streams.sql for one stream."""
    return _streams([(stream_id, stream_id)], 1, include_deleted=True)


def many_streams(
    stream_type: str | None, prefix: str | None, after: str | None, limit: int, *, include_deleted: bool
) -> Parameters:
    """Return the parameters of streams.sql for a page of streams.

    Python compares strings by code point, SQLite by the bytes of their UTF-8: the order is the same.
    """
    wanted = wanted_ids(stream_type, prefix)
    lowest = "" if after is None else after + _NEXT
    ranges: list[tuple[str, str]] = []
    if wanted.alone is not None:
        ranges.append((max(wanted.alone, lowest), wanted.alone))
    if wanted.prefix is not None:
        ranges.append((max(wanted.prefix, lowest), wanted.prefix + _BEYOND))
    return _streams(ranges, limit, include_deleted=include_deleted)


def _streams(ranges: list[tuple[str, str]], limit: int, *, include_deleted: bool) -> Parameters:
    return {"ranges": msgspec.json.encode(ranges).decode(), "limit": limit, "include_deleted": include_deleted}

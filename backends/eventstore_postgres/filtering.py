"""A `Filter` as conditions of SQL: fixed texts, with every value a parameter."""

from __future__ import annotations

from typing import Final

from eventstore.filters import Filter

_CONDITIONS: Final[dict[str, bytes]] = {
    "stream_types": b"AND stream_type = ANY (%(stream_types)s)\n",
    "event_types": b"AND event_type = ANY (%(event_types)s)\n",
    "stream_id_prefix": b"AND starts_with(stream_id, %(stream_id_prefix)s)\n",
    "created_from": b"AND created_at >= %(created_from)s\n",
    "created_to": b"AND created_at <= %(created_to)s\n",
}
# One type is looked up in an index that has its events in order; of several, before Postgres 17, no index does.
_OF_ONE: Final[dict[str, bytes]] = {
    "stream_types": b"AND stream_type = %(stream_types)s\n",
    "event_types": b"AND event_type = %(event_types)s\n",
}


def filter_conditions(filter: Filter | None) -> tuple[bytes, dict[str, object]]:
    """Return the conditions, each beginning with AND, and their parameters."""
    conditions: bytes = b""
    parameters: dict[str, object] = {}
    for field, condition in _CONDITIONS.items():
        value = getattr(filter, field, None)
        if isinstance(value, tuple) and len(value) == 1:
            conditions += _OF_ONE[field]
            (parameters[field],) = value
        elif value is not None:
            conditions += condition
            parameters[field] = list(value) if isinstance(value, tuple) else value
    return conditions, parameters


def walks_an_index(filter: Filter | None) -> bool:
    """Tell whether what matches is best found by walking an index in the order of the log.

    Not so for a period: the index on times knows no order, and what it finds is sorted.
    """
    return filter is not None and filter.created_from is None and filter.created_to is None

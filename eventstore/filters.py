"""Which events of the log a reader wants, and which streams."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import msgspec

from eventstore.arguments import check_name
from eventstore.errors import InvalidArgument
from eventstore.events import RecordedEvent


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions that an event must meet, all of them; None means no condition.

    `stream_types` and `event_types` list the accepted types, as any collection of strings. `stream_id_prefix` is
    compared as plain text. `created_from` and `created_to` are times with a time zone, both inclusive.

    Raises `InvalidArgument` for an empty list (it would match nothing), a bare string in place of a list, a name that
    no stream or event can have, or a time without a zone.
    """

    stream_types: Collection[str] | None = None
    stream_id_prefix: str | None = None
    event_types: Collection[str] | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    def __post_init__(self) -> None:
        for field in ("stream_types", "event_types"):
            msgspec.structs.force_setattr(self, field, _checked_names(field, getattr(self, field)))
        if self.stream_id_prefix is not None:
            check_name("stream_id_prefix", self.stream_id_prefix)
        for field in ("created_from", "created_to"):
            _check_time(field, getattr(self, field))

    def matches(self, event: RecordedEvent) -> bool:
        """Tell whether the event meets every condition."""
        return (
            (self.stream_types is None or event.stream_type in self.stream_types)
            and (self.event_types is None or event.event_type in self.event_types)
            and (self.stream_id_prefix is None or event.stream_id.startswith(self.stream_id_prefix))
            and (self.created_from is None or event.created_at >= self.created_from)
            and (self.created_to is None or event.created_at <= self.created_to)
        )


class WantedIds(NamedTuple):
    """The ids of the streams that are to be listed: `alone`, before all others, then those that begin with `prefix`.

    None where there is no such id.
    """

    alone: str | None
    prefix: str | None


def wanted_ids(stream_type: str | None, prefix: str | None) -> WantedIds:
    """Return which ids `Backend.list_streams` is asked for.

    The streams of type `order` are `order` itself and those that begin with `order-`; no type has a dash.
    """
    prefix = prefix or ""
    if stream_type is None:
        return WantedIds(None, prefix)
    if "-" in stream_type:
        return WantedIds(None, None)
    dashed = f"{stream_type}-"
    longer = max(prefix, dashed, key=len)
    return WantedIds(
        stream_type if stream_type.startswith(prefix) else None,
        longer if longer.startswith(prefix) and longer.startswith(dashed) else None,
    )


def check_filter(filter: object) -> None:
    """Refuse with `InvalidArgument` what is neither a `Filter` nor None."""
    if filter is not None and not isinstance(filter, Filter):
        raise InvalidArgument("filter", filter, "give a Filter")


def _checked_names(field: str, names: object) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Collection):
        raise InvalidArgument(field, names, "give a list of strings")
    if not names:
        raise InvalidArgument(field, names, "an empty list matches nothing; give None for no condition")
    for name in names:
        check_name(field, name)
    return tuple(dict.fromkeys(names))


def _check_time(field: str, time: object) -> None:
    if time is None:
        return
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise InvalidArgument(field, time, "give a datetime with a time zone, e.g. datetime.now(timezone.utc)")

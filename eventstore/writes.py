"""What callers append: checked, and encoded for a backend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from eventstore.arguments import check_name, name_fault, plain
from eventstore.backend import EncodedEvent, StreamAppend, Transaction
from eventstore.errors import InvalidArgument, InvalidEvent
from eventstore.events import NewEvent, encode_json_object, stream_type_of
from eventstore.outcomes import Payload
from eventstore.versions import ExpectedVersion, check_expected_version


class StreamWrite(msgspec.Struct, frozen=True):
    """Events for one stream of an `append_many`, and the version it is expected at."""

    stream_id: str
    events: Sequence[NewEvent]
    expected_version: ExpectedVersion


def encode_writes(writes: Sequence[StreamWrite], max_event_size: int) -> tuple[Transaction, list[list[Payload]]]:
    """Check everything about an append that needs no database; return what to store and private copies of it.

    Raises `InvalidArgument` or `InvalidEvent`.
    """
    if not isinstance(writes, Iterable):
        raise InvalidArgument("writes", writes, "give a list of StreamWrite")
    transaction: list[StreamAppend] = []
    payloads: list[list[Payload]] = []
    stream_ids: set[str] = set()
    # As integers, which hash in C.
    event_ids: set[int] = set()
    for write in writes:
        stream_id = _checked_stream(write, stream_ids)
        stream_ids.add(stream_id)
        encoded: list[EncodedEvent] = []
        copies: list[Payload] = []
        for event in write.events:
            encoded_event, payload = _encode_event(event, event_ids, max_event_size)
            encoded.append(encoded_event)
            copies.append(payload)
        if not encoded:
            raise InvalidArgument("events", write.events, "give at least one event")
        transaction.append(StreamAppend(stream_id, stream_type_of(stream_id), write.expected_version, tuple(encoded)))
        payloads.append(copies)
    if not transaction:
        raise InvalidArgument("writes", writes, "give at least one StreamWrite")
    return transaction, payloads


def _checked_stream(write: StreamWrite, taken: set[str]) -> str:
    """Check all of a write but its events; return its stream's id. `taken` are the ids of those before it."""
    if not isinstance(write, StreamWrite):
        raise InvalidArgument("writes", write, "every item is a StreamWrite")
    check_name("stream_id", write.stream_id)
    if write.stream_id in taken:
        raise InvalidArgument("writes", write.stream_id, "a stream occurs once: join its events in one StreamWrite")
    check_expected_version(write.expected_version)
    if isinstance(write.events, (str, bytes, NewEvent)) or not isinstance(write.events, Iterable):
        raise InvalidArgument("events", write.events, "give a list of NewEvent")
    return plain(write.stream_id)


def _encode_event(event: NewEvent, taken: set[int], max_size: int) -> tuple[EncodedEvent, Payload]:
    """Check an event; `taken` are the ids of those before it, to which its own is added."""
    if not isinstance(event, NewEvent):
        raise InvalidArgument("events", event, "every item is a NewEvent")
    if not isinstance(event.event_id, UUID):
        raise InvalidEvent("$.event_id", "a uuid.UUID is needed", event_id=event.event_id)
    if event.event_id.int in taken:
        raise InvalidEvent("$.event_id", f"the id {event.event_id} occurs twice", event_id=event.event_id)
    taken.add(event.event_id.int)
    fault = name_fault(event.event_type)
    if fault is not None:
        raise InvalidEvent("$.event_type", fault, event_id=event.event_id)
    try:
        data_text, data = encode_json_object(event.data, max_size, "$.data")
        metadata_text, metadata = encode_json_object(event.metadata, max_size, "$.metadata")
    except InvalidEvent as error:
        error.event_id = event.event_id
        raise
    return EncodedEvent(event.event_id, plain(event.event_type), data_text, metadata_text), (data, metadata)

"""Mutants that do not give back the payload that they were given: in the core's checks, and in what an engine keeps."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec
from msgspec.structs import replace

from eventstore import EventStore, ExpectedVersion, NewEvent, RecordedEvent, StorageError, StreamWrite
from eventstore.backend import Appended, Conflict, Direction, EncodedEvent, Outcome, StreamAppend, Transaction
from eventstore.events import decode_json
from eventstore.outcomes import recorded_events, resolve_conflict
from eventstore_memory import MemoryBackend
from tests.conformance.mutants.declaring import caught_by
from tests.conformance.mutants.sound import CarelessState, walked, with_events

encode = msgspec.json.encode


# --- Careless checks: what is no JSON is made JSON -------------------------------------------------------------------


class Mending(EventStore):
    """A store that changes payloads before it checks them."""

    def mended(self, value: Any) -> Any:
        """Return what is stored in place of a key or value."""
        raise NotImplementedError

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        if isinstance(events, list):
            events = [self._mended(event) if isinstance(event, NewEvent) else event for event in events]
        return await super().append(stream_id, events, expected_version=expected_version)

    def _mended(self, event: NewEvent) -> NewEvent:
        return replace(event, data=walked(event.data, self.mended), metadata=walked(event.metadata, self.mended))


@caught_by("DATA-12")
class TurnsNanIntoNull(Mending):
    """Encodes NaN and infinities as `null`, as fast JSON libraries do without a word."""

    def mended(self, value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value


@caught_by("DATA-12", "DATA-13")
class DropsNul(Mending):
    r"""Strips `\u0000`, which the text of Postgres cannot hold, instead of refusing it."""

    def mended(self, value: Any) -> Any:
        return value.replace("\0", "") if isinstance(value, str) else value


@caught_by("DATA-12", "DATA-13")
class ReplacesSurrogates(Mending):
    """Encodes text with `errors="replace"`: a lone surrogate becomes a question mark."""

    def mended(self, value: Any) -> Any:
        return value.encode(errors="replace").decode() if isinstance(value, str) else value


@caught_by("DATA-13")
class TurnsKeysIntoText(Mending):
    """Takes `{1: …}` and gives back `{"1": …}`."""

    def mended(self, value: Any) -> Any:
        return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value


@caught_by("DATA-12")
class TurnsTuplesIntoArrays(Mending):
    """Takes tuples and sets, and gives back lists."""

    def mended(self, value: Any) -> Any:
        return list(value) if isinstance(value, (tuple, set, frozenset)) else value


@caught_by("DATA-12")
class TurnsDatesIntoText(Mending):
    """Encodes with `default=str`: a date goes in and text comes out."""

    def mended(self, value: Any) -> Any:
        return str(value) if isinstance(value, (date, UUID)) else value


@caught_by("DATA-12")
class TurnsLongIntegersIntoFloats(Mending):
    """Lets an integer of more than 64 bits overflow into a float."""

    def mended(self, value: Any) -> Any:
        return float(value) if isinstance(value, int) and 2**63 <= value < 10**300 else value


@caught_by("DATA-15")
class CutsCircles(Mending):
    """Writes `null` for what it has seen before: a payload within itself is stored as something else."""

    def _mended(self, event: NewEvent) -> NewEvent:
        try:
            return replace(event, data=walked(event.data, lambda value: value))
        except RecursionError:
            return replace(event, data={"list": None})


@caught_by("APPEND-17", "APPEND-23", "DATA-04", "DATA-08", "DATA-10", "DATA-14", "MANY-13")
class ChecksNothing(EventStore):
    """Hands to the engine whatever it is given, encoded as the JSON library sees fit."""

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        return (await self.append_many([StreamWrite(stream_id, events, expected_version)]))[0]

    async def append_many(self, writes: Sequence[StreamWrite]) -> list[list[RecordedEvent]]:
        encode_any = partial(encode, enc_hook=str)
        transaction = [
            StreamAppend(
                write.stream_id,
                str(write.stream_id).partition("-")[0],
                write.expected_version,
                tuple(
                    EncodedEvent(event.event_id, event.event_type, encode_any(event.data), encode_any(event.metadata))
                    for event in write.events
                ),
            )
            for write in writes
        ]
        payloads = [
            [(decode_json(it.data), decode_json(it.metadata)) for it in append.events] for append in transaction
        ]
        recorded = None
        while recorded is None:
            (outcome,) = await self._writer().append([transaction])
            if isinstance(outcome, Appended):
                return recorded_events(transaction, payloads, outcome)
            recorded = resolve_conflict(transaction, outcome) if isinstance(outcome, Conflict) else None
        return recorded


# --- Engines that keep something else --------------------------------------------------------------------------------


class Rewriting(CarelessState):
    """An engine that keeps a changed payload; what it returns at once is what it was given."""

    def rewritten(self, value: Any) -> Any:
        """Return what is kept in place of a key or value."""
        raise NotImplementedError

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(with_events(transaction, self._rewritten))

    def _rewritten(self, event: EncodedEvent) -> EncodedEvent:
        data, metadata = (encode(walked(decode_json(text), self.rewritten)) for text in (event.data, event.metadata))
        return replace(event, data=data, metadata=metadata)


@caught_by("DATA-03", "DATA-01")
class TurnsWholeFloatsIntoIntegers(Rewriting):
    """Keeps 1.0 as 1: a price of whole euros changes its type."""

    def rewritten(self, value: Any) -> Any:
        return int(value) if isinstance(value, float) and value.is_integer() else value


@caught_by("DATA-03", "DATA-02")
class PassesNumbersThroughDoubles(Rewriting):
    """Parses numbers as JavaScript does: integers above 2**53 lose their last digits."""

    def rewritten(self, value: Any) -> Any:
        return int(float(value)) if isinstance(value, int) and not isinstance(value, bool) else value


@caught_by("DATA-03")
class WritesExponentsOut(Rewriting):
    """Keeps numbers as decimals, as JSONB does: 1e23 comes back as a long integer."""

    def rewritten(self, value: Any) -> Any:
        return int(value) if isinstance(value, float) and abs(value) >= 1e16 else value


@caught_by("DATA-03")
class RoundsFloats(Rewriting):
    """Keeps fifteen digits of a float, which does not always give it back."""

    def rewritten(self, value: Any) -> Any:
        return float(f"{value:.15g}") if isinstance(value, float) and abs(value) < 1e300 else value


@caught_by("DATA-03")
class NormalisesText(Rewriting):
    """Brings text to the normal form C."""

    def rewritten(self, value: Any) -> Any:
        return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


@caught_by("DATA-03")
class KeepsThreeBytesOfUtf8(Rewriting):
    """Has MySQL's old `utf8`: emoji become question marks."""

    def rewritten(self, value: Any) -> Any:
        return "".join("?" if char > "\uffff" else char for char in value) if isinstance(value, str) else value


@caught_by("DATA-03")
class TakesEmptyTextForNull(Rewriting):
    """Has Oracle's idea of empty text."""

    def rewritten(self, value: Any) -> Any:
        return {key: None if item == "" else item for key, item in value.items()} if isinstance(value, dict) else value


@caught_by("DATA-05")
class TurnsEmptyObjectsIntoArrays(Rewriting):
    """Keeps payloads as PHP arrays, of which an empty one is a list."""

    def rewritten(self, value: Any) -> Any:
        return [] if value == {} else value


class Refusing(CarelessState):
    """An engine with limits narrower than the promised ones."""

    def is_too_much(self, text: bytes) -> bool:
        """Tell whether the engine refuses a payload."""
        raise NotImplementedError

    def append(self, transaction: Transaction) -> Outcome:
        if any(
            self.is_too_much(text) for it in transaction for event in it.events for text in (event.data, event.metadata)
        ):
            raise StorageError("the engine refuses the document")
        return super().append(transaction)


@caught_by("DATA-06")
class LimitsTheNumberOfKeys(Refusing):
    """Indexes every key, a thousand at most, as search engines do."""

    def is_too_much(self, text: bytes) -> bool:
        return text.count(b'":') > 1_000


@caught_by("DATA-07")
class LimitsTheDepth(Refusing):
    """Nests 64 levels deep at most."""

    def is_too_much(self, text: bytes) -> bool:
        return text.count(b"[") + text.count(b"{") > 64 and len(text) < 1_000


@caught_by("DATA-09")
class LimitsTheSize(Refusing):
    """Has a column of 64 KiB."""

    def is_too_much(self, text: bytes) -> bool:
        return len(text) > 65_535 * 8


# --- Sharing ---------------------------------------------------------------------------------------------------------


@caught_by("DATA-16")
class KeepsThePayloadItWasGiven(EventStore):
    """Keeps the caller's own objects: changing them after the append changes history."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._given: dict[UUID, Any] = {}

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        recorded = await super().append(stream_id, events, expected_version=expected_version)
        for event in events:
            self._given.setdefault(event.event_id, event.data)
        return [replace(event, data=self._given[event.event_id]) for event in recorded]


@caught_by("DATA-17")
class ReturnsThePayloadItWasGiven(EventStore):
    """Builds the records it returns from the caller's own objects."""

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        recorded = await super().append(stream_id, events, expected_version=expected_version)
        return [replace(event, metadata=new.metadata) for event, new in zip(recorded, events, strict=True)]


@caught_by("DATA-18")
class HandsOutItsCache(MemoryBackend):
    """Decodes an event once and hands the same object to every reader."""

    def __init__(self) -> None:
        super().__init__()
        self._decoded: dict[UUID, RecordedEvent] = {}

    async def read_stream(
        self, stream_id: str, start: int | None, limit: int, direction: Direction
    ) -> list[RecordedEvent] | None:
        page = await super().read_stream(stream_id, start, limit, direction)
        return page and [self._decoded.setdefault(event.event_id, event) for event in page]


@caught_by("DATA-19")
class KeepsEqualPayloadsOnce(EventStore):
    """Interns payloads to save memory: events with equal ones share an object."""

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        recorded = await super().append(stream_id, events, expected_version=expected_version)
        kept: dict[bytes, Any] = {}
        return [replace(it, data=kept.setdefault(encode(it.data), it.data)) for it in recorded]


# --- Event ids -------------------------------------------------------------------------------------------------------


@caught_by("DATA-20", "DATA-21")
class DerivesIdsFromContent(EventStore):
    """Makes ids of its own from a hash of the content: two equal events are one."""

    async def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> list[RecordedEvent]:
        if isinstance(events, list) and all(isinstance(event, NewEvent) for event in events):
            events = [
                replace(event, event_id=uuid5(NAMESPACE_OID, f"{stream_id}{event.event_type}{event.data}"))
                for event in events
            ]
        return await super().append(stream_id, events, expected_version=expected_version)


@caught_by("DATA-20")
class SwapsTheBytesOfIds(CarelessState):
    """Keeps ids as GUIDs with their first parts in the machine's byte order, and reads them as they lie."""

    def append(self, transaction: Transaction) -> Outcome:
        return super().append(
            with_events(transaction, lambda event: replace(event, event_id=UUID(bytes=event.event_id.bytes_le)))
        )

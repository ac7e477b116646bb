"""Array parameters in Postgres' binary format, laid out in one pass.

psycopg's own dumper looks up a dumper for every element; for the short arrays of a single append that took longer than
the rest of the call. The layout is that of `array_send` in the Postgres sources: a header, then each element's length
and bytes, all big-endian.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from struct import Struct
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from eventstore_postgres.rows import microseconds_of

_TEXT_OID: Final = 25
_BIGINT_OID: Final = 20
_UUID_OID: Final = 2950
_TIMESTAMPTZ_OID: Final = 1184

_header = Struct(">iiIii").pack  # dimensions, has nulls, element type, length, lower bound
_length = Struct(">i").pack
_bigint = Struct(">iq").pack
_UUID_LENGTH: Final = _length(16)


class TextArray(bytes):
    """A parameter of type `text[]`."""

    def __new__(cls, values: Iterable[str | bytes]) -> TextArray:
        """Lay out strings, or UTF-8 bytes."""
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        elements = [_length(len(text)) + text for text in texts]
        return super().__new__(cls, _header(1, 0, _TEXT_OID, len(elements), 1) + b"".join(elements))


class UuidArray(bytes):
    """A parameter of type `uuid[]`."""

    def __new__(cls, values: Iterable[UUID]) -> UuidArray:
        """Lay out ids."""
        elements = [value.int.to_bytes(16, "big") for value in values]
        joined = _UUID_LENGTH + _UUID_LENGTH.join(elements) if elements else b""
        return super().__new__(cls, _header(1, 0, _UUID_OID, len(elements), 1) + joined)


class BigintArray(bytes):
    """A parameter of type `bigint[]`."""

    def __new__(cls, values: Iterable[int]) -> BigintArray:
        """Lay out 64-bit integers."""
        elements = [_bigint(8, value) for value in values]
        return super().__new__(cls, _header(1, 0, _BIGINT_OID, len(elements), 1) + b"".join(elements))


class TimeArray(bytes):
    """A parameter of type `timestamptz[]`."""

    def __new__(cls, values: Iterable[datetime]) -> TimeArray:
        """Lay out times, whatever the time zone of the session."""
        elements = [_bigint(8, microseconds_of(value)) for value in values]
        return super().__new__(cls, _header(1, 0, _TIMESTAMPTZ_OID, len(elements), 1) + b"".join(elements))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer:
        return bytes(obj)


class _TextArrayDumper(_ArrayDumper):
    oid = 1009


class _UuidArrayDumper(_ArrayDumper):
    oid = 2951


class _BigintArrayDumper(_ArrayDumper):
    oid = 1016


class _TimeArrayDumper(_ArrayDumper):
    oid = 1185


def register_arrays(connection: AsyncConnection) -> None:
    """Teach a connection these classes; nothing else about it changes."""
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
    connection.adapters.register_dumper(UuidArray, _UuidArrayDumper)
    connection.adapters.register_dumper(BigintArray, _BigintArrayDumper)
    connection.adapters.register_dumper(TimeArray, _TimeArrayDumper)

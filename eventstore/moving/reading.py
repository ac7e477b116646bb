"""Reading an export line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO, Final, NamedTuple

from eventstore.errors import InvalidExport
from eventstore.moving.records import FORMAT, AnyRecord, decode_line, later_format

_COST_OF_LINE: Final = 2_000
_MOST_HELD: Final = 500_000
"""So many bytes, and as much as so many for each line, are read before other tasks get a turn: some milliseconds."""

_OTHER_FILES: Final = {
    b"\x1f\x8b": "compressed: pass it through gunzip",
    b"\x28\xb5\x2f\xfd": "compressed: pass it through unzstd",
    b"SQLite format 3": "a SQLite database, which an export is made of",
    b"\xef\xbb\xbf": "begins with a byte order mark: write it as plain UTF-8",
    b"\xff\xfe": "UTF-16: write it as UTF-8",
}


class Line(NamedTuple):
    """A record, the number of its line, and its text."""

    number: int
    record: AnyRecord
    text: bytes


async def read_lines(file: BinaryIO, max_event_size: int) -> AsyncIterator[Line]:
    """Yield the records of a file from its beginning. Raises `InvalidExport`."""
    # Data and metadata, of which every character may be written as \uXXXX, and as much as the rest can be at the most.
    longest = 12 * max_event_size + 2**16
    file.seek(0)
    number = 0
    held = 0
    while text := file.readline(longest + 1):
        number += 1
        held += _COST_OF_LINE + len(text)
        if len(text) > longest:
            raise InvalidExport(number, f"it is longer than {longest:,} bytes, which none can be within the limits")
        try:
            record = decode_line(text)
        except (ValueError, RecursionError) as error:
            raise InvalidExport(number, _why_it_is_no_record(number, text, error)) from error
        yield Line(number, record, text)
        if held > _MOST_HELD:
            held = 0
            await asyncio.sleep(0)
    if number == 0:
        raise InvalidExport(1, "the file is empty")


def _why_it_is_no_record(number: int, text: bytes, error: Exception) -> str:
    later = later_format(text) if number == 1 else None
    if later is not None:
        return f"its format is {later}, known is up to {FORMAT}: upgrade eventstore-kit"
    what = next((what for start, what in _OTHER_FILES.items() if number == 1 and text.startswith(start)), None)
    if what is not None:
        return f"this is no export, but {what}"
    if "truncated" in str(error):
        return "it has no whole JSON object: the file was cut short, or is not written with one object in each line"
    return f"this is no export: {error}" if number == 1 else str(error)

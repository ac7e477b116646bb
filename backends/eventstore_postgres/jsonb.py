"""JSON text that comes back from JSONB as the same values.

JSONB keeps numbers as decimals: `1e23` comes back as a long integer. A fraction keeps it a float on the way back.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

# A number stands after one of these three; ids in hexadecimal, which look like one, mostly do not.
_SUSPECT: Final = re.compile(rb"[:,\[]-?[0-9]+(?:\.[0-9]+)?[eE]")
_STRING_OR_EXPONENT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+')


def jsonb_text(text: bytes) -> bytes:
    """Return JSON text with every number that has an exponent written out with a fraction."""
    return _STRING_OR_EXPONENT.sub(_written_out, text) if _SUSPECT.search(text) else text


def _written_out(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.startswith(b'"'):
        return token
    digits = format(Decimal(token.decode()), "f").encode()
    return digits if b"." in digits else digits + b".0"

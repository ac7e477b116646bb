"""Checks of what callers pass: the one rule for names (streams, types, checkpoints), and ranges of integers."""

import re
from typing import Final

from eventstore.errors import InvalidArgument

MAX_NAME_LENGTH: Final = 255
"""The longest name, in characters."""

# Control characters (Unicode category Cc), and surrogates, which have no UTF-8.
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def name_fault(name: object) -> str | None:
    """Return what is wrong with a name, None if it is sound.

    A name is a non-empty string of at most `MAX_NAME_LENGTH` characters without control characters. It is compared byte
    for byte: no case folding, no normalisation.
    """
    if not isinstance(name, str):
        return f"a string is needed, not {type(name).__name__}"
    if not name:
        return "it must not be empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"it has {len(name)} characters, the limit is {MAX_NAME_LENGTH}"
    if _FORBIDDEN.search(name):
        return "it must not contain control characters or lone surrogates"
    return None


def check_name(argument: str, name: object) -> None:
    """Refuse with `InvalidArgument` a name that is not sound."""
    fault = name_fault(name)
    if fault is not None:
        raise InvalidArgument(argument, name, fault)


def plain(name: str) -> str:
    """Return the name itself where it was given as a member of a string enum."""
    return str.__str__(name)


def check_integer(argument: str, value: object, lowest: int) -> None:
    """Refuse with `InvalidArgument` what is no integer from `lowest` to the largest that 64 bits hold."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(argument, value, f"an int is needed, not {type(value).__name__}")
    if not lowest <= value < 2**63:
        raise InvalidArgument(argument, value, f"it must be at least {lowest} and fit 64 bits")


def check_optional_integer(argument: str, value: object, lowest: int) -> None:
    """Do as `check_integer`, but let None pass."""
    if value is not None:
        check_integer(argument, value, lowest)

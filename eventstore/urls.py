"""Store URLs and their options, read alike by every backend."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from eventstore.errors import InvalidUrl, UnknownOption, shortened

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def split_query(url: str, keywords: Mapping[str, object] | None = None) -> tuple[str, dict[str, object]]:
    """Return a URL without its query string, and the options: those in that, and the `keywords` of the call.

    A keyword that is None is not given. Raises `InvalidUrl` for an option given twice, and for text that is none.
    """
    base, _, query = url.partition("?")
    pairs = _pairs(query)
    if pairs is None:
        # Not where the cause is handled: as the context of this it would show what may be a password.
        raise InvalidUrl("the query string of the store URL is malformed: write ?option=value&option=value")
    pairs += [(option, value) for option, value in (keywords or {}).items() if value is not None]
    if not all(_is_text(part) for part in (url, *(part for pair in pairs for part in pair)) if isinstance(part, str)):
        raise InvalidUrl("the store URL or an option has a NUL or a lone surrogate in it: neither is text")
    options = dict(pairs)
    if len(options) < len(pairs):
        raise InvalidUrl("an option of the store is given twice, in its URL or as a keyword: give it once")
    return base, options


def _pairs(query: str) -> list[tuple[str, object]] | None:
    try:
        return [*parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")]
    except ValueError:
        return None


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def scheme_of(url: object) -> str:
    """Return the scheme of a store URL; raises `InvalidUrl` if it has none."""
    if not isinstance(url, str):
        raise InvalidUrl(f"a store URL is a string, not {type(url).__name__}")
    scheme, separator, _ = url.partition("://")
    # Anything else may be a password in the wrong place, which no message must show.
    if not separator or not _SCHEME.fullmatch(scheme):
        raise InvalidUrl("a store URL begins with scheme://, as in memory://, sqlite:///app.db, postgresql://host/db")
    return scheme.lower()


def path_of(base: str) -> Path:
    """Return the path in `scheme:///relative` or `scheme:////absolute`, a URL without its query string.

    Percent signs are decoded. Raises `InvalidUrl` where there is a host, or no path.
    """
    scheme = scheme_of(base)
    host, _, quoted = base[len(scheme) + len("://") :].partition("/")
    if host:
        raise InvalidUrl(f"{scheme}:// takes a path and no host: write {scheme}:///relative or {scheme}:////absolute")
    try:
        path = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise InvalidUrl("the path in the store URL is not UTF-8 behind its percent signs") from None
    if not path.strip("/") or "\0" in path:
        raise InvalidUrl(f"the store URL names no path: write {scheme}:///relative or {scheme}:////absolute")
    return Path(path)


def url_beside(url: str, name: str) -> str:
    """Return the URL of a file or folder beside that of a store, the name added to its own: `app.db`, `app-name.db`.

    The options stay. Raises `InvalidUrl` where there is no path.
    """
    base, question_mark, query = url.partition("?")
    path_of(base)
    folder, _, last = base.rstrip("/").rpartition("/")
    stem, dot, suffix = last.partition(".")
    return f"{folder}/{stem}-{name}{dot}{suffix}{question_mark}{query}"


def parse_options(given: Mapping[str, object], known: Mapping[str, Callable[[object], Any]]) -> dict[str, Any]:
    """Return the options that were given, each read by its parser.

    Raises `UnknownOption` for one that is not known, and `InvalidUrl` where its parser raises `ValueError`.
    """
    values = {}
    for option, value in given.items():
        if option not in known:
            raise UnknownOption(option, list(known))
        try:
            values[option] = known[option](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidUrl(f"invalid value {shortened(value)} for option {option!r}: {error}") from None
    return values


# --- Parsers for options ---------------------------------------------------------------------------------------------


def boolean(value: object) -> bool:
    """Read `true` or `false`."""
    match value:
        case bool():
            return value
        case "true" | "false":
            return value == "true"
    raise ValueError("give true or false")


def seconds(value: object) -> float:
    """Read a number of seconds, 0 or more."""
    number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else -1.0
    if not 0 <= number < float("inf"):
        raise ValueError("give a number of seconds, at least 0")
    return number


def count(value: object) -> int:
    """Read a whole number, 1 or more."""
    number = int(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else 0
    if number < 1:
        raise ValueError("give a whole number, at least 1")
    return number


def choice(*choices: str) -> Callable[[object], str]:
    """Return a parser that reads one of the given words, in any case."""

    def parse(value: object) -> str:
        word = value.lower() if isinstance(value, str) else ""
        if word not in choices:
            raise ValueError(f"give one of {', '.join(choices)}")
        return word

    return parse

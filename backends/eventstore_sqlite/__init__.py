"""An event store in one SQLite file, for one machine: durable, shared by several processes, without a server."""

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from eventstore.errors import InvalidUrl
from eventstore.urls import boolean, choice, count, parse_options, scheme_of, seconds, split_query
from eventstore_sqlite.backend import SqliteBackend
from eventstore_sqlite.files import DatabaseFile, Settings

__all__ = ["SqliteBackend", "open_backend"]

_OPTIONS: Final = {
    "synchronous": choice("full", "normal", "off"),
    "busy_timeout": seconds,
    "readers": count,
    "migrate": boolean,
    "immutable": boolean,
}


def open_backend(url: str, **options: object) -> SqliteBackend:
    """Return the backend for `sqlite://` (private, gone when closed), `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Options, in the query string or as keywords:

    * `synchronous`: `full` (default: a commit survives a loss of power), `normal` (the last commits may be lost then,
      the file stays sound) or `off` (the file may be damaged then)
    * `busy_timeout`: seconds to wait while another process writes, default 5
    * `readers`: how many connections read side by side, default 4
    * `migrate`: whether opening creates or upgrades the schema, default true
    * `immutable`: read a file that nobody can change, on a read-only medium say; default false
    """
    base, given = split_query(url, options)
    path = _path_of(base)
    settings = Settings(**parse_options(given, _OPTIONS))
    return SqliteBackend(DatabaseFile(path, settings))


def _path_of(url: str) -> Path | None:
    """Return the path in a store URL, None for a private store."""
    rest = url[len(scheme_of(url)) + len("://") :]
    if not rest:
        return None
    try:
        path = unquote(rest[1:], errors="strict")
    except UnicodeDecodeError:
        raise InvalidUrl("the path in the store URL is not UTF-8 behind its percent signs") from None
    if not rest.startswith("/"):
        raise InvalidUrl("a SQLite store has no host: write sqlite:///relative.db or sqlite:////absolute/path.db")
    if not path or "\0" in path:
        raise InvalidUrl("the store URL names no file: write sqlite:///relative.db, or sqlite:// for a private store")
    if path == ":memory:":
        raise InvalidUrl("write sqlite:// for a private store in memory")
    return Path(path)

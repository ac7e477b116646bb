"""An event store in one SQLite file, for one machine: durable, shared by several processes, without a server."""

from typing import Final

from eventstore.urls import boolean, choice, count, parse_options, seconds, split_query
from eventstore_sqlite.backend import SqliteBackend
from eventstore_sqlite.files import DatabaseFile, Settings, path_in

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
    path = path_in(base)
    settings = Settings(**parse_options(given, _OPTIONS))
    return SqliteBackend(DatabaseFile(path, settings))

"""An event store in Postgres, on psycopg 3 and its pool."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from eventstore.errors import InvalidUrl, UnknownOption
from eventstore.urls import boolean, count, parse_options, seconds, split_query
from eventstore_postgres.backend import DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVES, PostgresBackend
from eventstore_postgres.partitions import SMALLEST_PARTITION

__all__ = ["PostgresBackend", "open_backend"]


def open_backend(url: str, **options: object) -> PostgresBackend:
    """Return the backend for `postgresql://user:password@host:port/database?option=value`.

    The options are those of `PostgresBackend`, and every connection parameter of libpq (`sslmode`, `connect_timeout`,
    `application_name`, `target_session_attrs`, …), several hosts included.
    """
    conninfo, ours = settings_of(url, options)
    return PostgresBackend(conninfo, **ours)


def settings_of(url: str, options: Mapping[str, object] | None = None) -> tuple[str, dict[str, Any]]:
    """Return what libpq takes, and the options of `PostgresBackend`. Raises `InvalidUrl` or `UnknownOption`."""
    base, given = split_query(url, options)
    libpq = {parameter.keyword.decode() for parameter in Conninfo.get_defaults()} - {"client_encoding"}
    for option in given:
        if option not in libpq | _OPTIONS.keys():
            if "@" in url.partition("?")[2]:
                # What looks like an option may be a part of the password.
                raise InvalidUrl("the store URL has a ? before an @: write %3F for one in a user name or password")
            raise UnknownOption(option, sorted(libpq | _OPTIONS.keys()))
    if base.count("@") > 1:
        raise InvalidUrl("the store URL has more than one @: write %40 for one in a user name or password")
    parameters = _parameters(base, {option: _text(option, value) for option, value in given.items() if option in libpq})
    if parameters is None:
        # Not where the cause is handled: as the context of this it could show a part of the password.
        raise InvalidUrl("not a valid Postgres URL: write postgresql://user@host:port/database")
    if "@" in base and "@" in str(parameters.get("dbname", "")):
        raise InvalidUrl("the store URL has a / before an @: write %2F for one in a user name or password")
    if not all(port.isdecimal() for port in str(parameters.get("port") or "5432").split(",") if port):
        raise InvalidUrl("the port in the store URL is not a number")
    ours = {option: value for option, value in given.items() if option in _OPTIONS}
    return make_conninfo("", **parameters), parse_options(ours, _OPTIONS)


def _text(option: str, value: object) -> str:
    if isinstance(value, (str, float, PurePath)) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    # Without the value, which may be a password.
    raise InvalidUrl(f"the option {option!r} is text or a number, not {type(value).__name__}")


def _parameters(base: str, options: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the connection parameters of libpq, None if the URL is none."""
    libpq = {parameter.keyword.decode() for parameter in Conninfo.get_defaults()}
    parameters: dict[str, Any] = {
        "connect_timeout": DEFAULT_CONNECT_TIMEOUT,
        "application_name": "eventstore",
        **{name: value for name, value in DEFAULT_KEEPALIVES.items() if name in libpq},
    }
    try:
        parameters |= conninfo_to_dict(base)
        parameters |= options
        if "," in str(parameters.get("host", "")):
            # Of several servers, the one to talk to is the primary.
            parameters.setdefault("target_session_attrs", "read-write")
        # Whatever PGCLIENTENCODING or the server's defaults say: names and JSON travel as UTF-8.
        parameters["client_encoding"] = "utf8"
        make_conninfo("", **parameters)
    except (ProgrammingError, ValueError):
        return None
    return parameters


def _schema(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode()) <= 63 or "\0" in value:
        raise ValueError("give a name of at most 63 bytes")
    return value


def _partition_size(value: object) -> int:
    if (size := count(value)) < SMALLEST_PARTITION:
        raise ValueError(f"give a whole number, at least {SMALLEST_PARTITION}")
    return size


_OPTIONS = {
    "schema": _schema,
    "migrate": boolean,
    "prepare": boolean,
    "pool_min": count,
    "pool_max": count,
    "pool_timeout": seconds,
    "call_timeout": seconds,
    "settle_timeout": seconds,
    "listen": boolean,
    "poll_interval": seconds,
    "partition_size": _partition_size,
}

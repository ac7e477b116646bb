"""The tables of a store (LMDB calls each a database), and the version of their schema."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import lmdb

from eventstore.errors import SchemaError, SchemaOutdated, SchemaTooNew
from eventstore_lmdb.keys import number_key, number_of

SCHEMA_VERSION: Final = 1

_SCHEMA_VERSION_KEY: Final = b"schema version"
_LAST_POSITION_KEY: Final = b"last position"


@dataclass(frozen=True, slots=True)
class Tables:
    """The open tables, each by the name that it has in the file."""

    facts: lmdb._Database
    """The schema's version, and the last position drawn."""

    events: lmdb._Database
    """The log: events by position."""

    versions: lmdb._Database
    """Positions by stream and version."""

    event_ids: lmdb._Database
    """Positions by event id."""

    streams: lmdb._Database
    """Streams by the digest of their id."""

    stream_ids: lmdb._Database
    """The ids of all streams, in their order; see `keys.split_id`."""

    snapshots: lmdb._Database
    """Snapshots by the digest of their stream's id."""

    checkpoints: lmdb._Database
    """Checkpoints by the digest of their name."""

    entries: lmdb._Database
    """What consumers keep, by the digest of the consumer's name and the entry's own key."""


NAMES: Final = tuple(field.name for field in fields(Tables))


def found_version(environment: lmdb.Environment) -> int:
    """Return the version of the schema, 0 in an empty file. Raises `SchemaError` if it is somebody else's file."""
    try:
        facts = environment.open_db(b"facts", create=False)
    except (lmdb.NotFoundError, lmdb.IncompatibleError):
        facts = None
    with environment.begin() as txn:
        version = None if facts is None else txn.get(_SCHEMA_VERSION_KEY, db=facts)
        if version is not None:
            return number_of(version)
        if txn.stat()["entries"]:
            raise SchemaError(f"{environment.path()} holds something else than an event store: choose another folder")
    return 0


def create_tables(environment: lmdb.Environment) -> None:
    """Create the tables that are missing; of several processes that do it at once, each finds or makes them all."""
    _check_known(found_version(environment))
    with environment.begin(write=True) as txn:
        tables = _open(environment, txn, create=True)
        txn.put(_SCHEMA_VERSION_KEY, number_key(SCHEMA_VERSION), db=tables.facts)


def open_tables(environment: lmdb.Environment) -> Tables:
    """Open the tables. Raises `SchemaOutdated` or `SchemaTooNew` where this version does not know them."""
    _check_known(version := found_version(environment))
    if version < SCHEMA_VERSION:
        raise SchemaOutdated(version, SCHEMA_VERSION)
    # Each in a transaction that py-lmdb runs and commits: handles opened in one that only reads are void after it.
    return _open(environment, None, create=False)


def last_position(txn: lmdb.Transaction[bytes], tables: Tables) -> int:
    """Return the last position drawn; it stays when events are removed, so none is drawn twice."""
    return number_of(txn.get(_LAST_POSITION_KEY, b"", db=tables.facts))


def keep_last_position(txn: lmdb.Transaction[bytes], tables: Tables, position: int) -> None:
    """Keep the last position drawn."""
    txn.put(_LAST_POSITION_KEY, number_key(position), db=tables.facts)


def _check_known(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(version, SCHEMA_VERSION)


def _open(environment: lmdb.Environment, txn: lmdb.Transaction[bytes] | None, *, create: bool) -> Tables:
    return Tables(
        *(environment.open_db(name.encode(), txn, create=create, dupsort=name == "stream_ids") for name in NAMES)
    )

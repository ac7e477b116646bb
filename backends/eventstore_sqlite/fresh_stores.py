"""Fresh stores for the conformance suite: a file for each, beside the one that the URL names."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eventstore.urls import split_query, url_beside
from eventstore_sqlite.files import path_in

FILES = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database file."""


def fresh_url(url: str, namespace: str) -> str:
    """Return the URL of the file that a namespace names, in the same folder; a private store is fresh as it is."""
    return url if path_in(split_query(url)[0]) is None else url_beside(url, namespace)


async def remove_store(url: str) -> None:
    """Remove a store's files."""
    path = path_in(split_query(url)[0])
    if path is not None:
        await asyncio.to_thread(_remove, path)


def _remove(path: Path) -> None:
    for added in FILES:
        path.with_name(path.name + added).unlink(missing_ok=True)

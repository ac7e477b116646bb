"""Fresh stores for the conformance suite: a folder for each, beside the one that the URL names."""

from __future__ import annotations

import asyncio
import shutil

from eventstore.urls import split_query, url_beside
from eventstore_lmdb.options import read_url


def fresh_url(url: str, namespace: str) -> str:
    """Return the URL of the folder that a namespace names."""
    return url_beside(url, namespace)


async def remove_store(url: str) -> None:
    """Remove a store's folder."""
    folder, _ = read_url(*split_query(url))
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

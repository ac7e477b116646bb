"""Fresh, empty stores beside the one that a URL names, another for every test.

A backend says how in a module of its own, named by its URL scheme in the entry-point group `eventstore.conformance`.
Without one, `{namespace}` stands in the URL where it names what holds a store, and is replaced by a random name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from traceback import extract_tb
from typing import Final, Protocol
from uuid import uuid4

from eventstore import ANY, Capability, EventStore, EventStoreError, NewEvent, open_store

PLACEHOLDER: Final = "{namespace}"
GROUP: Final = "eventstore.conformance"


class FreshStores(Protocol):
    """What a backend's module has, if it has one."""

    def fresh_url(self, url: str, namespace: str, /) -> str:
        """Return the URL of another store in the same database or folder, which `namespace` names."""
        ...

    async def remove_store(self, url: str, /) -> None:
        """Remove a store and all that it holds. It is closed, and may never have been opened."""
        ...


class UnusableUrl(Exception):
    """The URL does not lead to fresh stores; nothing of what it leads to was changed."""


def new_namespace() -> str:
    """Return a random name that serves as one of a schema, a file, a table or a prefix of keys."""
    return f"conformance_{uuid4().hex}"


def fresh_stores_of(url: str) -> FreshStores | None:
    """Return the module of the backend that a URL leads to, if it has one."""
    scheme = url.partition("://")[0].lower()
    found = next(iter(entry_points(group=GROUP, name=scheme)), None)
    return found.load() if found else None


def fresh_url(url: str, namespace: str) -> str:
    """Return the URL of the store that a namespace names."""
    if PLACEHOLDER in url:
        return url.replace(PLACEHOLDER, namespace)
    backend = fresh_stores_of(url)
    return backend.fresh_url(url, namespace) if backend else url


async def remove_store(url: str) -> None:
    """Remove a store that the run has made, where its backend knows how to."""
    backend = fresh_stores_of(url)
    if backend:
        await backend.remove_store(url)


@asynccontextmanager
async def fresh_store(url: str, namespace: str, *, keep: bool = False) -> AsyncIterator[str]:
    """Yield the URL of the store that a namespace names, and remove it afterwards unless it is to be kept.

    The URL must have been checked by `check_url`: another store than the one named might be removed otherwise.
    """
    own = fresh_url(url, namespace)
    try:
        yield own
    finally:
        if not keep:
            await remove_store(own)


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: no password, nor the options from a password on."""
    base, question_mark, query = url.partition("?")
    scheme, separator, rest = base.partition("://")
    # What begins with a slash has no host, and nobody to log in.
    shown = rest if rest.startswith("/") else rest.rpartition("@")[2]
    return scheme + separator + shown + question_mark + query.partition("password=")[0]


async def check_url(url: str) -> None:
    """Check, before any test writes, that a URL leads to fresh stores. Raises `UnusableUrl`, saying what to do."""
    one, other = fresh_url(url, new_namespace()), fresh_url(url, new_namespace())
    try:
        await _check_stores(url, one, other)
    except UnusableUrl:
        raise
    except Exception as error:
        raise UnusableUrl(f"{without_credentials(url)} cannot be used: {_what_went_wrong(error)}") from error
    # Only now is it certain that nobody else's store goes with them.
    await remove_store(one)
    await remove_store(other)


async def _check_stores(url: str, one: str, other: str) -> None:
    shown = without_credentials(url)
    store = open_store(one)
    if one == other and store.capabilities & {Capability.DURABLE, Capability.SHARED}:
        raise UnusableUrl(
            f"every test needs a store of its own, and {shown} is always the same one. Put {PLACEHOLDER} where the URL "
            f"names what holds a store: redis://host/{PLACEHOLDER}, say"
        )
    async with store:
        if not await _is_empty(store):
            raise UnusableUrl(f"{shown} leads to a store that already holds something; nothing was changed")
        probe = new_namespace()
        await store.append(probe, [NewEvent("Probed", {})], expected_version=ANY)
        async with open_store(other) as second:
            apart = await _is_empty(second)
        if not apart:
            await store.delete_stream(probe, expected_version=ANY, erase=True)
            raise UnusableUrl(f"the stores of {shown} are one and the same, whatever stands for {PLACEHOLDER} in it")


def _what_went_wrong(error: Exception) -> str:
    if isinstance(error, EventStoreError):
        return str(error)
    # A backend that is not finished, most likely: its author wants to know where.
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"


async def _is_empty(store: EventStore) -> bool:
    async for _ in store.list_streams(include_deleted=True):
        return False
    async for _ in store.read_all(limit=1):
        return False
    return await store.head() == 0

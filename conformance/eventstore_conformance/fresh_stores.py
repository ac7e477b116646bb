"""Fresh, empty stores from one URL: `{namespace}` in it is replaced by another random name for every test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from eventstore import ANY, Capability, EventStore, EventStoreError, NewEvent, open_store

PLACEHOLDER: Final = "{namespace}"
REMOVERS: Final = "eventstore.conformance.remove_store"
"""The entry-point group of a backend's optional `async remove_store(url)`, by URL scheme."""


class UnusableUrl(Exception):
    """The URL does not lead to fresh stores; nothing of what it leads to was changed."""


def new_namespace() -> str:
    """Return a random name that serves as one of a schema, a file, a table or a prefix of keys."""
    return f"conformance_{uuid4().hex}"


def url_of(template: str, namespace: str) -> str:
    """Return the URL of one store."""
    return template.replace(PLACEHOLDER, namespace)


def without_credentials(template: str) -> str:
    """Return a URL as it may be shown: neither a password nor options that might hold one."""
    base, question_mark, query = template.partition("?")
    parts = urlsplit(base)
    netloc = parts.netloc.rpartition("@")[2]
    shown = base if netloc == parts.netloc else base.replace(parts.netloc, netloc, 1)
    return shown + "?" + query.partition("password=")[0] if question_mark else shown


async def check_template(template: str) -> None:
    """Check, before any test writes, that a URL leads to fresh stores. Raises `UnusableUrl`, saying what to do."""
    one, other = (url_of(template, new_namespace()) for _ in range(2))
    try:
        store = open_store(one)
        if PLACEHOLDER not in template and store.capabilities & {Capability.DURABLE, Capability.SHARED}:
            raise UnusableUrl(
                f"every test needs a store of its own, and {without_credentials(template)} is always the same one. "
                f"Put {PLACEHOLDER} where the URL names what holds a store, and each test gets another name there: "
                "postgresql://host/database?schema={namespace}, sqlite:///{namespace}.db"
            )
        async with store:
            await check_empty(store, template)
            await check_apart(store, other, template)
    except EventStoreError as error:
        raise UnusableUrl(f"{without_credentials(template)} cannot be used: {error}") from error
    # Only now is it certain that nobody else's store goes with them.
    await remove_store(template, one)
    await remove_store(template, other)


async def check_empty(store: EventStore, template: str) -> None:
    """Refuse a store that was there before."""
    if not await is_empty(store):
        raise UnusableUrl(
            f"{without_credentials(template)} leads to a store that already holds events, and the suite would write "
            f"among them: nothing was changed. Put {PLACEHOLDER} where the URL names what holds a store."
        )


async def check_apart(store: EventStore, other: str, template: str) -> None:
    """Refuse a URL where what one test writes is seen by the next."""
    probe = new_namespace()
    await store.append(probe, [NewEvent("Probed", {})], expected_version=ANY)
    async with open_store(other) as second:
        apart = await is_empty(second)
    if not apart:
        await store.delete_stream(probe, expected_version=ANY, erase=True)
        raise UnusableUrl(
            f"the stores of {without_credentials(template)} are one and the same, whatever stands for {PLACEHOLDER}: "
            "put it where the URL names what holds a store"
        )


async def is_empty(store: EventStore) -> bool:
    """Tell whether nothing was ever written to a store."""
    async for _ in store.list_streams(include_deleted=True):
        return False
    async for _ in store.read_all(limit=1):
        return False
    return await store.head() == 0


def remover_for(template: str) -> Callable[[str], Awaitable[None]] | None:
    """Return the function by which a backend removes a whole store, if it has one."""
    scheme = template.partition("://")[0].lower()
    found = next(iter(entry_points(group=REMOVERS, name=scheme)), None)
    return found.load() if found else None


async def remove_store(template: str, url: str) -> None:
    """Remove a store that the run has made, where its backend knows how to."""
    remover = remover_for(template)
    if remover and PLACEHOLDER in template:
        await remover(url)

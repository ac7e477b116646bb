"""Finding the backend for a URL, ours and third parties' alike, by the entry-point group `eventstore.backends`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventstore.backend import BackendFactory
from eventstore.errors import MissingExtra, UnknownScheme
from eventstore.events import DEFAULT_MAX_EVENT_SIZE
from eventstore.operations import DEFAULT_PAGE_SIZE, Limits
from eventstore.store import DEFAULT_RETRY_TIMEOUT, EventStore
from eventstore.urls import scheme_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "eventstore.backends"


def open_store(
    url: str,
    *,
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
    page_size: int = DEFAULT_PAGE_SIZE,
    retry_timeout: float = DEFAULT_RETRY_TIMEOUT,
    **options: object,
) -> EventStore:
    """Return the store at a URL, to be opened by `async with`.

    `memory://`; `sqlite://` (private, in memory), `sqlite:///relative.db`, `sqlite:////absolute/path.db`;
    `postgresql://user@host/db?schema=shop`; and whatever else is installed. Options of the backend stand in the query
    string or are passed as keywords. `max_event_size` is in bytes of JSON text, `page_size` in events per request,
    `retry_timeout` in seconds of trying again while the database is out of reach.

    Raises `UnknownScheme`, `UnknownOption` or `InvalidUrl`, and `MissingExtra` if a package is missing. No I/O before
    the store is opened.
    """
    limits = Limits(max_event_size, page_size)
    backend = find_backend(scheme_of(url))(url, **options)
    return EventStore(backend, limits=limits, retry_timeout=retry_timeout)


def find_backend(scheme: str) -> BackendFactory:
    """Return the installed backend's factory for a URL scheme. Raises `UnknownScheme` or `MissingExtra`."""
    # Imported when first needed: it takes as long as all the rest of `import eventstore`.
    from importlib.metadata import entry_points

    installed = entry_points(group=GROUP)
    found = next(iter(installed.select(name=scheme)), None)
    if found is None:
        raise UnknownScheme(scheme, sorted(installed.names))
    try:
        factory: BackendFactory = found.load()
    except ModuleNotFoundError as error:
        raise MissingExtra(scheme, error.name or "?", _requirement(found)) from error
    return factory


def _requirement(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist.name if entry_point.dist else entry_point.module
    return f"{distribution}[{','.join(entry_point.extras)}]" if entry_point.extras else distribution

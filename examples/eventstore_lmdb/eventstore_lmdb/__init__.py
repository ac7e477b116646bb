"""An event store in LMDB: `lmdb:///relative/folder`, `lmdb:////absolute/folder`."""

from eventstore_lmdb.backend import LmdbBackend
from eventstore_lmdb.options import read_url

__all__ = ["LmdbBackend", "open_backend"]


def open_backend(url: str, **options: object) -> LmdbBackend:
    """Return the backend for a URL, the entry point of the scheme `lmdb`; no I/O before it is opened.

    Raises `InvalidUrl` or `UnknownOption`.
    """
    return LmdbBackend(*read_url(url, options))

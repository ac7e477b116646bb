"""The URL of a store, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from eventstore.urls import boolean, count, parse_options, path_of, split_query


class Options(msgspec.Struct, frozen=True):
    """How the folder of a store is opened."""

    map_size: int = 1024**3
    """The most bytes that the store can grow to. The file grows as it is filled; LMDB reserves addresses only."""

    sync: bool = True
    """Whether each commit waits for the disk. Without, a power cut may damage the store."""

    read_only: bool = False
    """Whether writes are refused; nothing is created then, neither folder nor tables."""

    migrate: bool = True
    """Whether opening creates or upgrades the tables."""


_PARSERS: Final = {"map_size": count, "sync": boolean, "read_only": boolean, "migrate": boolean}


def read_url(url: str, given: Mapping[str, object]) -> tuple[Path, Options]:
    """Return the folder that a URL names, and the options in its query string and those given beside it."""
    base, options = split_query(url, given)
    return path_of(base), Options(**parse_options(options, _PARSERS))

"""The conformance suite: what every event store does, whatever its engine.

An author subclasses `StoreConformance` with one fixture, `store_url`; `eventstore conform URL` and
`pytest --pyargs eventstore_conformance --store-url URL` need no file at all.
"""

from __future__ import annotations

import sys
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eventstore_conformance.suite import CHAPTERS, StoreConformance

__all__ = ["CHAPTERS", "StoreConformance", "__version__"]

__version__ = "0.1.0"
"""The suite has a version of its own; `conformance/CHANGELOG.md` says what each demands."""

# Before the chapters are imported, so that pytest explains their assertions. The plugin is there already.
_modules = [f"{__name__}.{module.name}" for module in iter_modules(__path__)]
pytest.register_assert_rewrite(*(name for name in _modules if name not in sys.modules and not name.endswith(".plugin")))


def __getattr__(name: str) -> Any:
    """Import the suite when it is asked for: pytest loads the plugin also where the extra is not installed."""
    if name in ("CHAPTERS", "StoreConformance"):
        from eventstore_conformance import suite

        return getattr(suite, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

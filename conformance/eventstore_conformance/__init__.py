"""The conformance suite: what every event store does, whatever its engine.

An author subclasses `StoreConformance` with one fixture, `store_url`.
"""

from pkgutil import iter_modules

import pytest

# Before the chapters are imported, so that pytest explains their assertions.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from eventstore_conformance.suite import CHAPTERS, StoreConformance  # noqa: E402

__all__ = ["CHAPTERS", "StoreConformance"]

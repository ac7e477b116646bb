"""How far work has come that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """How far `verify`, `export` or `import_from` of a store has come: `done` of `total` in one of its steps.

    The steps of `verify` are `log` (in positions), `streams` (in events) and, where something looks wrong, `second
    look` (in positions); the step of `export` is `export`, those of `import_from` are `check` and `import`, in
    positions.
    """

    step: str
    done: int
    total: int


ProgressCallback: TypeAlias = Callable[[Progress], object]
"""Called now and then while the work goes on."""

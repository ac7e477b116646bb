"""One store of each engine, for tests that hold whatever the engine is."""

from __future__ import annotations

import pytest

ENGINES = ["memory", "sqlite", "postgres"]
IN_FILES = ENGINES[1:]


def url_for(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty store on the engine that a fixture's parameter names."""
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{request.getfixturevalue('tmp_path')}/events.db"
        case "postgres":
            return str(request.getfixturevalue("postgres_url"))
    raise ValueError(request.param)

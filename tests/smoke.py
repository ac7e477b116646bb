"""The smoke test of the built wheel: run in an environment that holds nothing else."""

from __future__ import annotations

import asyncio
import sys

import eventstore
from eventstore import NO_STREAM, MissingExtra, NewEvent


async def main(url: str) -> None:
    """Append and read through whatever is installed."""
    async with eventstore.open_store(url) as store:
        recorded = await store.append("smoke-1", [NewEvent("Lit", {"by": "wheel"})], expected_version=NO_STREAM)
        assert [event async for event in store.read_all()] == recorded
    if url.startswith("memory"):
        for scheme in ("sqlite", "postgresql"):
            check_missing_extra(scheme)


def check_missing_extra(scheme: str) -> None:
    """A backend whose driver is not installed names the line that installs it."""
    try:
        eventstore.open_store(f"{scheme}://")
    except MissingExtra as error:
        assert "pip install 'eventstore-kit[" in str(error), error
    else:
        raise AssertionError(f"{scheme}:// opened without its driver")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))

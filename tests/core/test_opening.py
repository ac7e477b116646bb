"""`open_store`: finding the backend, its options, and what is refused before any I/O."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventstore import (
    ANY,
    EventStore,
    InvalidArgument,
    InvalidUrl,
    NewEvent,
    StoreNotOpen,
    StoreUnavailable,
    UnknownOption,
    UnknownScheme,
    open_store,
)
from eventstore_memory import MemoryBackend


def run_python(code: str) -> str:
    """Run code in a process that has imported nothing yet; return what it prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_an_unknown_scheme_names_the_installed_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"no backend for redis://.*memory://.*sqlite://") as refusal:
        open_store("redis://localhost")
    assert refusal.value.scheme == "redis"
    assert {"memory", "postgresql", "sqlite"} <= set(refusal.value.installed)


@pytest.mark.parametrize("url", ["", "memory", None, 5, "memory://host", "memory:///path", "memory://?oops"])
def test_a_bad_url_is_refused(url: Any) -> None:
    with pytest.raises(InvalidUrl):
        open_store(url)


@pytest.mark.parametrize("url", ["memory://?colour=red", "memory://?page=1&page_size=2"])
def test_an_unknown_option_in_the_url_is_refused(url: str) -> None:
    with pytest.raises(UnknownOption):
        open_store(url)


def test_an_unknown_option_of_the_call_is_refused() -> None:
    with pytest.raises(UnknownOption) as refusal:
        open_store("memory://", colour="red")
    assert (refusal.value.option, refusal.value.known) == ("colour", ("clock",))


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(InvalidUrl, match="twice"):
        open_store("memory://?clock=1&clock=2")


@pytest.mark.parametrize(
    "options", [{"page_size": 0}, {"page_size": True}, {"max_event_size": 1.0}, {"retry_timeout": -1}], ids=repr
)
def test_a_limit_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        open_store("memory://", **options)


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("sqlite://", "aiosqlite", "sqlite"), ("postgresql://h/d", "psycopg", "postgres")]
)
def test_a_missing_driver_is_told_with_the_line_that_installs_it(url: str, package: str, extra: str) -> None:
    said = run_python(
        f"""
import sys
sys.modules[{package!r}] = None
import eventstore
try:
    eventstore.open_store({url!r})
except eventstore.MissingExtra as error:
    print(error.package.partition(".")[0], error.requirement)
    print(error)
"""
    )
    facts, message = said.splitlines()
    assert facts == f"{package} eventstore-kit[{extra}]"
    assert message.endswith(f"pip install 'eventstore-kit[{extra}]'")


def test_importing_eventstore_loads_no_driver() -> None:
    loaded = run_python("import sys, eventstore; print(*sys.modules)").split()
    assert not {"psycopg", "psycopg_pool", "aiosqlite", "sqlite3", "tenacity", "pytest"}.intersection(loaded)


def test_a_store_on_memory_needs_no_driver() -> None:
    loaded = run_python("import sys, eventstore; eventstore.open_store('memory://'); print(*sys.modules)").split()
    assert not {"psycopg", "aiosqlite", "sqlite3"}.intersection(loaded)


def test_a_store_says_what_it_is_on() -> None:
    assert repr(open_store("memory://")) == "<EventStore on memory>"


@pytest.mark.asyncio
async def test_the_clock_of_a_memory_store_can_be_given() -> None:
    times = iter(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in (1, 3, 2, 4))
    async with open_store("memory://", clock=lambda: next(times)) as store:
        hours = [
            (await store.append("cart-1", [NewEvent("Happened", {})], expected_version=ANY))[0].created_at.hour
            for _ in range(3)
        ]
        await store.save_snapshot("cart-1", 3, {})
        snapshot = await store.load_snapshot("cart-1")
    assert hours == [1, 3, 3], "within a stream the time never goes back"
    assert snapshot is not None
    assert snapshot.created_at.hour == 4


@pytest.mark.parametrize("clock", ["now", 5])
def test_what_is_no_clock_is_refused(clock: object) -> None:
    with pytest.raises(InvalidUrl, match="clock"):
        open_store("memory://", clock=clock)


class Unreachable(MemoryBackend):
    """A backend that cannot be opened."""

    closed = 0

    async def open(self) -> None:
        raise StoreUnavailable("nobody is there")

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.asyncio
async def test_a_store_that_fails_to_open_leaves_nothing_open() -> None:
    backend = Unreachable()
    store = EventStore(backend)
    with pytest.raises(StoreUnavailable):
        await store.open()
    assert backend.closed == 1
    with pytest.raises(StoreNotOpen):
        await store.head()

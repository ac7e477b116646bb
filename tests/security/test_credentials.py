"""A password shows nowhere: not in errors and what they are chained to, not in logs, not in a `repr`."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from eventstore import (
    ANY,
    EventStore,
    EventStoreError,
    InvalidUrl,
    NewEvent,
    StoreUnavailable,
    UnknownOption,
    open_store,
)
from tests.postgres_server import PostgresServer, default_binaries

pytestmark = pytest.mark.asyncio

SECRET = "s3cr3t-Pa55:w/o%rd"
PARTS = (SECRET, quote(SECRET, safe=""), "s3cr3t", "Pa55")


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Capture what anybody logs, `psycopg.pool` included, and check it at the end."""
    caplog.set_level(logging.DEBUG)
    for name in ("eventstore", "psycopg", "psycopg.pool", "asyncio", "aiosqlite"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    for record in caplog.records:
        check_free_of_secrets(record.getMessage(), repr(record.args), str(record.exc_info))


def check_free_of_secrets(*texts: str) -> None:
    for text in texts:
        for part in PARTS:
            assert part not in text, text.replace(part, "<HERE>")


def check_error(error: BaseException) -> None:
    """Check an error and its attributes, what it is chained to, and its traceback."""
    check_free_of_secrets("".join(traceback.format_exception(error)))
    seen: list[BaseException | None] = [error]
    while (last := seen[-1]) is not None:
        check_free_of_secrets(str(last), repr(last), repr(last.args))
        if isinstance(last, EventStoreError):
            check_free_of_secrets(repr(vars(last)))
        seen.append(last.__cause__ or last.__context__)


def check_store(store: EventStore) -> None:
    backend: Any = store._backend
    check_free_of_secrets(repr(store), str(store), repr(backend), str(backend))


def forms_of(host: str, **options: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the ways to give a password: in the URL, in its options, and as a keyword."""
    query = "".join(f"&{name}={quote(str(value), safe='')}" for name, value in options.items())
    return {
        "in the URL": (f"postgresql://app:{quote(SECRET, safe='')}@{host}?user=app{query}", {}),
        "as an option": (f"postgresql://app@{host}?password={quote(SECRET, safe='')}{query}", {}),
        "as a keyword": (f"postgresql://app@{host}", {"password": SECRET, **options}),
    }


FORMS = list(forms_of(""))

# --- Before any connection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("host", "options", "error"),
    [
        ("127.0.0.1:port/db", {}, InvalidUrl),
        ("127.0.0.1/db", {"colour": "red"}, UnknownOption),
        ("127.0.0.1/db", {"pool_max": "none"}, InvalidUrl),
        ("127.0.0.1/db", {"schema": "x" * 64}, InvalidUrl),
        ("[::1/db", {}, InvalidUrl),
        ("a@b@c/db", {}, InvalidUrl),
    ],
)
async def test_not_in_what_a_bad_url_or_option_raises(
    form: str, host: str, options: dict[str, str], error: type[InvalidUrl]
) -> None:
    url, keywords = forms_of(host, **options)[form]
    with pytest.raises(error) as caught:
        open_store(url, **keywords)
    check_error(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql:/app:{SECRET}@host/db",
        f"postgresqll://app:{SECRET}@host/db",
        f"sqlite://app:{SECRET}@host/file.db",
        f"memory://app:{SECRET}@host",
        f"postgresql://app:{SECRET}@host/db?{SECRET}",
        f"postgresql://app:{SECRET}@host/db?pool_max=1&pool_max=2",
        f"postgresql://app:{SECRET}@host/db?password={SECRET}&password={SECRET}",
        f"postgresql://app:%zz{SECRET}@host/db",
        f"postgresql://app:\0{SECRET}@host/db",
        f"postgresql://app:\ud800{SECRET}@host/db",
        f"postgresql://app:{SECRET}\n@host/db",
        f"postgresql://app@host/db?passwort={SECRET}",
    ],
)
async def test_not_in_what_an_url_raises_that_is_no_store_url(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        open_store(url)
    check_error(caught.value)


@pytest.mark.parametrize("form", FORMS)
async def test_not_in_the_repr_of_a_store(form: str) -> None:
    url, keywords = forms_of("127.0.0.1/db")[form]
    check_store(open_store(url, **keywords))


# --- With a server, or without ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("host", ["127.0.0.1:1/db", "nowhere.invalid/db", "127.0.0.1:1,127.0.0.1:2/db"])
async def test_not_in_what_is_said_of_a_host_that_cannot_be_reached(form: str, host: str) -> None:
    url, keywords = forms_of(host)[form]
    store = open_store(url, retry_timeout=0, **keywords)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    check_error(caught.value)
    check_store(store)


@pytest.fixture(scope="module")
def strict_server() -> Iterator[PostgresServer]:
    """A server that asks everybody but the superuser for a password."""
    with PostgresServer(default_binaries()) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{SECRET}'")
            connection.execute("CREATE DATABASE app OWNER app")
            rules = server.directory / "data" / "pg_hba.conf"
            rules.write_text("local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield server


def set_password(server: PostgresServer, password: str) -> None:
    """Change the password, and end the sessions of those who came in with the old one."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"ALTER ROLE app PASSWORD '{password}'".encode())
        # A session ends soon after it was told to, and not at once.
        while connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
        ).fetchall():
            continue


@pytest.mark.parametrize("form", FORMS)
async def test_not_in_what_is_said_of_a_wrong_password(strict_server: PostgresServer, form: str) -> None:
    set_password(strict_server, "another")
    url, keywords = forms_of(f"127.0.0.1:{strict_server.port}/app")[form]
    store = open_store(url, retry_timeout=0, **keywords)
    with pytest.raises(StoreUnavailable, match="password authentication failed") as caught:
        await store.open()
    check_error(caught.value)


@pytest.mark.parametrize("form", FORMS)
async def test_not_in_what_a_pool_says_that_is_locked_out(
    strict_server: PostgresServer, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    set_password(strict_server, SECRET)
    # With one connection: a second one may be on its way in while the password is changed.
    url, keywords = forms_of(f"127.0.0.1:{strict_server.port}/app", pool_timeout=0.2, pool_max=1)[form]
    async with open_store(url, retry_timeout=0, **keywords) as store:
        await store.append("order-1", [NewEvent("Happened", {})], expected_version=ANY)
        set_password(strict_server, "another")
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as caught:
                await store.append("order-1", [NewEvent("Happened", {})], expected_version=ANY)
            check_error(caught.value)
        check_store(store)
    assert any(record.name == "psycopg.pool" for record in caplog.records), "the pool has said something"


async def test_a_failing_statement_shows_none_either(strict_server: PostgresServer) -> None:
    set_password(strict_server, SECRET)
    url, _ = forms_of(f"127.0.0.1:{strict_server.port}/app")["in the URL"]
    async with open_store(url, retry_timeout=0) as store:
        with pytest.raises(EventStoreError) as caught:
            await open_store(url, schema="pg_nowhere").open()
        check_error(caught.value)
        with pytest.raises(psycopg.Error) as raised:
            async with store.transaction() as tx:
                await tx.connection.execute("SELECT FROM nowhere")
        check_error(raised.value)
    gc.collect()

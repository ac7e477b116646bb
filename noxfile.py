"""Every check of the project, each in an environment of its own: `nox` runs them all, `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "build", "conformance", "tests"]

SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
# For two processors: many tests wait, for a server, a process, or what does not come.
AT_A_TIME = ("--numprocesses=3", "--dist=worksteal", "--quiet")
SUITES = [f"tests/conformance/test_{engine}.py" for engine in ("memory", "sqlite")]
SERVERS = """
from tests.postgres_server import default_binaries, find_servers
by_version = {server.version: server.bin for server in find_servers() if server != default_binaries()}
print(*(f"{version}={by_version[version]}" for version in sorted(by_version, reverse=True)))
"""


def found_pythons() -> list[str]:
    """Return the supported versions that are installed, on the PATH or by pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in SUPPORTED:
        for folder in sorted(pyenv.glob(f"{version}.*/bin"))[-1:]:
            os.environ["PATH"] += os.pathsep + str(folder)
    return [version for version in SUPPORTED if is_installed(version)]


def is_installed(version: str) -> bool:
    for folder in os.environ["PATH"].split(os.pathsep):
        python = shutil.which(f"python{version}", path=folder)
        # A shim may stand there without an interpreter behind it.
        if python and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return True
    return False


def sync(session: nox.Session, *groups: str) -> None:
    """Install the project and what is locked for the groups."""
    # What pytest makes of its plugins is kept, whatever the caller's environment says: many tests start Python anew.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    chosen = [f"--group={group}" for group in groups]
    python = f"--python={session.virtualenv.location}"
    session.run_install(
        "uv", "sync", "--locked", "--quiet", "--all-extras", "--no-default-groups", *chosen, python,
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )  # fmt: skip


PYTHONS = found_pythons()


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests on the oldest Python; the core and the suite on the others, the newest with Postgres."""
    sync(session, "test")
    if session.python == PYTHONS[0]:
        session.run("pytest", *AT_A_TIME, *session.posargs)
    else:
        postgres = ["tests/conformance/test_postgres.py"] if session.python == PYTHONS[-1] else []
        session.run("pytest", "tests/core", *SUITES, *postgres, *AT_A_TIME, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """All tests once more, and which lines and branches they do not reach."""
    sync(session, "test")
    data = {"COVERAGE_FILE": str(Path(session.virtualenv.location, "coverage").resolve())}
    session.run("pytest", "--cov", *AT_A_TIME, *session.posargs, env=data)


@nox.session
def conformance(session: nox.Session) -> None:
    """The suite and the hard promise on the newest further Postgres, with `-- all` on each; `tests` has the first."""
    sync(session, "test")
    found = session.run("python", "-c", SERVERS, silent=True, env={"PYTHONPATH": "."}) or ""
    servers = str(found).split()
    for server in servers if "all" in session.posargs else servers[:1]:
        version, _, folder = server.partition("=")
        session.log(f"Postgres {version}")
        session.run(
            "pytest", "tests/conformance/test_postgres.py", "tests/postgres", *AT_A_TIME,
            env={"EVENTSTORE_TEST_POSTGRES_BIN": folder},
        )  # fmt: skip


@nox.session
def mutants(session: nox.Session) -> None:
    """The whole suite on every mutant, twenty minutes, and the page docs/mutants.md; `-- NAME...` runs those named."""
    sync(session, "test")
    session.run("python", "-m", "tests.conformance.mutants.page", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure every path beside its floor and its peers: five minutes; `-- --quick`, `-- --only P2`."""
    sync(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Ten minutes of random faults on Postgres and SQLite; `-- --seconds 60 --seed 1` for less, or the same again."""
    sync(session, "test")
    session.run("python", "-m", "tests.faults.soak", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: lint and format."""
    sync(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--quiet")


@nox.session
def types(session: nox.Session) -> None:
    """The strict types of mypy, and pyright's."""
    sync(session, "test", "bench", "types")
    session.run("mypy", "eventstore", "backends", "benchmarks", "conformance", "examples", "tests", "noxfile.py")
    session.run("pyright")


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel, install it into an empty environment, and use it there."""
    folder = Path(session.create_tmp()).resolve()
    session.run_install("uv", "build", "--quiet", "--out-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    smoke_test = Path("tests/smoke.py").resolve()
    with session.chdir(folder):
        session.install(str(wheel))
        session.run("python", str(smoke_test))
        session.install(f"{wheel}[sqlite]")
        session.run("python", str(smoke_test), "sqlite:///smoke.db")


if __name__ == "__main__":
    sys.exit("run it by name: nox")

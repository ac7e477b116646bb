"""`examples/git_history.py`, run as a command on real repositories."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import eventstore
from eventstore import RecordedEvent

SCRIPT = Path(__file__).parents[2] / "examples" / "git_history.py"
GIT = shutil.which("git") or "git"


@dataclass
class Repository:
    """A git repository whose commits have the same ids on every run."""

    folder: Path
    clock: int = 1_700_000_000

    def git(self, *arguments: str | bytes, input: bytes | None = None, author: str = "Ada") -> str:
        date = f"{self.clock} +0000"
        environment = os.environ | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": author,
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_NAME": "C",
            "GIT_COMMITTER_EMAIL": "c@example.org",
            "GIT_COMMITTER_DATE": date,
        }
        command = ["git", "-C", self.folder, "-c", "commit.gpgsign=false", *arguments]
        done = subprocess.run(command, env=environment, input=input, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(
        self, files: Mapping[str | bytes, bytes | None] | None = None, *, author: str = "Ada", amend: bool = False
    ) -> str:
        """Write files (None: delete), commit whatever has changed, and return the commit's id."""
        self.clock += 60
        for name, content in (files or {}).items():
            path = os.path.join(os.fsencode(self.folder), os.fsencode(name))  # noqa: PTH118 - pathlib takes no bytes
            if content is None:
                os.unlink(path)  # noqa: PTH108
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
                with open(path, "wb") as file:  # noqa: PTH123
                    file.write(content)
        self.git("add", "--all")
        options = ["--amend"] if amend else []
        self.git("commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", "", *options, author=author)
        return self.git("rev-parse", "HEAD")

    def merge(self, *branches: str, author: str = "Ada") -> str:
        self.clock += 60
        self.git("merge", "--quiet", "--no-ff", "-m", "merge", *branches, author=author)
        return self.git("rev-parse", "HEAD")


def make_repository(folder: Path) -> Repository:
    folder.mkdir()
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main")
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path / "repository")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _url(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store that outlives its process."""
    return _url(request, tmp_path)


def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{tmp_path}/events.db"
        case _:
            url = request.getfixturevalue("postgres_url")
            assert isinstance(url, str)
            return url


@dataclass(frozen=True)
class Run:
    """What one run of the command did."""

    code: int
    out: str
    err: str


def run(
    repository: Repository | Path | str,
    url: str | None,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run the example, with every warning of the interpreter shown on its stderr."""
    target = repository.folder if isinstance(repository, Repository) else repository
    options = [] if url is None else ["--store", url]
    done = subprocess.run(
        [sys.executable, "-W", "default", SCRIPT, target, *options],
        env={**os.environ, "PYTHONUTF8": "1", "GIT_CONFIG_GLOBAL": os.devnull, **(environment or {})},
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


def assert_ran(result: Run, *, commits: int, events: int) -> None:
    """Check that a run succeeded and recorded so many new commits and events."""
    assert (result.code, result.err) == (0, f"New commits: {commits:,}, new events: {events:,}\n")


async def recorded(url: str) -> list[RecordedEvent]:
    async with eventstore.open_store(url) as store:
        return [event async for event in store.read_all()]


def make_history(repository: Repository) -> None:
    """Nine commits with all that a history has: two branches, a merge, a rename, a delete, an empty commit."""
    repository.commit({"README": b"one\ntwo\n", "src/a.py": b"1\n2\n3\n4\n5\n6\n"}, author="Ada")
    repository.commit({"README": b"one\n2\n"}, author="Bob")
    repository.git("switch", "--quiet", "--create", "side")
    repository.commit({"side 1": b"x\n"}, author="Çem [b]")
    repository.commit({"side 1": b"x\ny\nz\n"}, author="Çem [b]")
    repository.git("switch", "--quiet", "main")
    repository.git("mv", "src/a.py", "src/b.py")
    repository.commit(author="Bob")
    repository.commit({"logo": b"\0\1\2"}, author="Ada")
    repository.merge("side")
    repository.commit(author="Dot")
    repository.commit({"README": None}, author="Ada")


EXPECTED = """\
Authors by lines
┏━━━━━━━━━┳━━━━━━━━━┳━━━━━━━┳━━━━━━━━━┓
┃ Author  ┃ Commits ┃ Added ┃ Removed ┃
┡━━━━━━━━━╇━━━━━━━━━╇━━━━━━━╇━━━━━━━━━┩
│ Ada     │       4 │     8 │       2 │
│ Çem [b] │       2 │     3 │       0 │
│ Bob     │       2 │     1 │       1 │
│ Dot     │       1 │     0 │       0 │
└─────────┴─────────┴───────┴─────────┘
Busiest files
┏━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━┳━━━━━━━━━┓
┃ File            ┃ Changes ┃ Added ┃ Removed ┃
┡━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━╇━━━━━━━━━┩
│ README (gone)   │       3 │     3 │       3 │
│ side 1          │       2 │     3 │       0 │
│ src/a.py (gone) │       2 │     6 │       0 │
│ logo            │       1 │     0 │       0 │
│ src/b.py        │       1 │     0 │       0 │
└─────────────────┴─────────┴───────┴─────────┘
Commits: 9, authors: 4, files: 3 (ever: 5), events: 18
"""


def test_prints_the_same_tables_on_every_store(repository: Repository, any_url: str) -> None:
    make_history(repository)

    result = run(repository, any_url)

    assert_ran(result, commits=9, events=18)
    assert _unpadded(result.out) == _unpadded(EXPECTED)


def _unpadded(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_a_second_run_adds_nothing(repository: Repository, lasting_url: str) -> None:
    make_history(repository)
    first = run(repository, lasting_url)

    second = run(repository, lasting_url)

    assert_ran(second, commits=0, events=0)
    assert second.out == first.out


def test_a_later_run_adds_only_the_new_commits(repository: Repository, lasting_url: str) -> None:
    make_history(repository)
    run(repository, lasting_url)
    repository.commit({"new": b"1\n", "logo": None})

    assert_ran(run(repository, lasting_url), commits=1, events=3)
    assert run(repository, lasting_url).out == run(repository, "memory://").out


def test_another_branch_adds_only_what_is_not_yet_there(repository: Repository, lasting_url: str) -> None:
    repository.commit({"a": b"1\n"})
    repository.git("switch", "--quiet", "--create", "side")
    repository.commit({"b": b"1\n"})
    repository.git("switch", "--quiet", "main")
    repository.commit({"c": b"1\n"})
    assert_ran(run(repository, lasting_url), commits=2, events=4)

    repository.git("switch", "--quiet", "side")
    assert_ran(run(repository, lasting_url), commits=1, events=2)
    repository.git("switch", "--quiet", "main")
    assert_ran(run(repository, lasting_url), commits=0, events=0)
    repository.merge("side")
    assert_ran(run(repository, lasting_url), commits=1, events=1)


async def _commits_in(url: str) -> list[str]:
    return [event.data["commit"] for event in await recorded(url) if event.event_type == "CommitRecorded"]


@pytest.mark.asyncio
async def test_a_run_that_failed_half_way_is_completed_by_the_next(
    repository: Repository, lasting_url: str, tmp_path: Path
) -> None:
    # Git writes one branch, then the other. The second run goes on in the middle of the later one; it reads the earlier
    # one again, whose commits are no ancestors of the last that was recorded.
    repository.commit({"base": b"1\n"})
    for branch in ("left", "right"):
        repository.git("switch", "--quiet", "--create", branch, "main")
        for number in range(20):
            repository.commit({f"{branch} {number % 7}": b"%d\n" % number}, author=branch)
    repository.merge("left")
    clean = run(repository, "memory://")
    fake = fake_git(
        tmp_path, "echo 'warning: it is hot' >&2; echo 'fatal: the disk is on fire' >&2; exit 128", share=0.8
    )

    failed = run(repository, lasting_url, environment=fake)
    assert (failed.code, failed.out) == (2, "")
    assert failed.err == f"git_history: {repository.folder}: fatal: the disk is on fire\n"
    half = await _commits_in(lasting_url)
    assert 25 < len(half) < 42

    result = run(repository, lasting_url)
    assert result.err.startswith(f"New commits: {42 - len(half)}, ")
    assert result.out == clean.out
    assert sorted(await _commits_in(lasting_url)) == sorted(repository.git("rev-list", "HEAD").split())


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """Let the processes that a test starts heed Ctrl-C, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_leaves_a_store_that_the_next_run_completes(
    repository: Repository, lasting_url: str, tmp_path: Path
) -> None:
    make_history(repository)
    clean = run(repository, "memory://")
    fake = fake_git(tmp_path, "kill -INT $PPID; exec tail -f /dev/null", share=0.5)

    interrupted = run(repository, lasting_url, environment=fake)

    assert interrupted == Run(130, "", "git_history: interrupted; what is recorded is safe, run again to go on\n")
    result = run(repository, lasting_url)
    assert result.code == 0
    assert result.out == clean.out


def fake_git(tmp_path: Path, then: str, *, share: float) -> dict[str, str]:
    """Return an environment where `git log` gives but a share of its output, and then does something else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    output = tmp_path / "output"
    (folder / "git").write_text(
        f"""#!/bin/sh
        case " $* " in
            *" log "*)
                {GIT} "$@" > {output}
                size=$(wc -c < {output})
                head -c $((size * {round(share * 100)} / 100)) {output}
                {then} ;;
            *) exec {GIT} "$@" ;;
        esac
        """
    )
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_rewritten_history_is_read_again_and_nothing_is_recorded_twice(
    repository: Repository, lasting_url: str
) -> None:
    make_history(repository)
    run(repository, lasting_url)
    old = repository.git("rev-parse", "HEAD")
    repository.commit({"logo": b"\0"}, amend=True)
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("cat-file", "-e", old)

    assert_ran(run(repository, lasting_url), commits=1, events=3)


def test_a_commit_that_git_tells_otherwise_later_stays_as_it_was_recorded(
    repository: Repository, lasting_url: str
) -> None:
    repository.commit({"base": b"1\n"})
    repository.git("branch", "side")
    repository.commit({"table.csv": b"1\n2\n"})
    run(repository, lasting_url)
    repository.git("switch", "--quiet", "side")
    repository.commit({"side": b"1\n"})
    run(repository, lasting_url)
    repository.git("switch", "--quiet", "main")
    repository.commit({".gitattributes": b"*.csv binary\n"})

    result = run(repository, lasting_url)  # git shows the table's commit again, now without lines

    assert_ran(result, commits=1, events=2)
    assert _cells(result.out)["table.csv"] == ["1", "2", "0"]
    assert _cells(run(repository, "memory://").out)["table.csv"] == ["1", "0", "0"]


def test_repositories_in_one_store_are_kept_apart(repository: Repository, lasting_url: str, tmp_path: Path) -> None:
    make_history(repository)
    other = make_repository(tmp_path / "other")
    other.commit({"README": b"another\n"}, author="Eve")
    first = run(repository, lasting_url)
    second = run(other, lasting_url)

    assert second.out == run(other, "memory://").out
    assert run(repository, lasting_url).out == first.out


def test_clones_of_one_repository_share_their_streams(repository: Repository, lasting_url: str, tmp_path: Path) -> None:
    make_history(repository)
    first = run(repository, lasting_url)
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "clone.git"))

    second = run(tmp_path / "clone.git", lasting_url)

    assert_ran(second, commits=0, events=0)
    assert second.out == first.out


@pytest.mark.asyncio
async def test_an_event_tells_commit_author_time_and_lines(repository: Repository, lasting_url: str) -> None:
    root = repository.commit({"a": b"1\n2\n3\n4\n5\n", "run": b"x\n"}, author="Ada")
    repository.git("mv", "a", "folder")
    repository.git("update-index", "--chmod=+x", "run")
    (repository.folder / "run").chmod(0o755)
    renamed = repository.commit({"folder": b"1\n2\n3\n4\n5\n6\n", "logo": b"\0"}, author="Bob")
    (repository.folder / "run").unlink()
    (repository.folder / "run").symlink_to("logo")
    linked = repository.commit({"logo": None})
    assert_ran(run(repository, lasting_url), commits=3, events=3 + 2 + 4 + 2)

    events = await recorded(lasting_url)

    key = f"git-{root[:12]}"
    ada = {"commit": root, "author": "Ada", "time": "2023-11-14T22:14:20+00:00"}
    bob = {"commit": renamed, "author": "Bob", "time": "2023-11-14T22:15:20+00:00"}
    end = {"commit": linked, "author": "Ada", "time": "2023-11-14T22:16:20+00:00"}
    assert {(event.stream_id, event.version): (event.event_type, event.data) for event in events} == {
        (key, 1): ("CommitRecorded", {**ada, "parents": []}),
        (f"{key}/a", 1): ("FileCreated", {**ada, "path": "a", "added": 5, "removed": 0}),
        (f"{key}/run", 1): ("FileCreated", {**ada, "path": "run", "added": 1, "removed": 0}),
        (key, 2): ("CommitRecorded", {**bob, "parents": [root]}),
        (f"{key}/a", 2): ("FileMovedAway", {**bob, "path": "a", "new_path": "folder", "added": 0, "removed": 0}),
        (f"{key}/folder", 1): (
            "FileRenamed",
            {**bob, "path": "folder", "old_path": "a", "added": 1, "removed": 0},
        ),
        (f"{key}/logo", 1): ("FileCreated", {**bob, "path": "logo", "added": None, "removed": None}),
        (f"{key}/run", 2): ("FileChanged", {**bob, "path": "run", "added": 0, "removed": 0}),
        (key, 3): ("CommitRecorded", {**end, "parents": [renamed]}),
        (f"{key}/logo", 2): ("FileDeleted", {**end, "path": "logo", "added": None, "removed": None}),
        (f"{key}/run", 3): ("FileChanged", {**end, "path": "run", "added": 1, "removed": 1}),
    }


ODD_NAMES: dict[bytes, str] = {
    b" ": " ",
    b"two  spaces ": "two  spaces ",
    b"tab\tand\nnewline\n": "tab%09and%0Anewline%0A",
    b"\"quotes\" 'and' \\": "\"quotes\" 'and' \\",
    b":100644 100644 M": ":100644 100644 M",
    b"1\t1\tname": "1%091%09name",
    "ünï/日本/🎉".encode(): "ünï/日本/🎉",
    "e\u0301".encode(): "e\u0301",
    "\u202egnp.exe".encode(): "\u202egnp.exe",
    "next\x85line".encode(): "next%C2%85line",
    b"latin-1 \xe9\xff": "latin-1 %E9%FF",
    b"\xed\xa0\x80": "%ED%A0%80",
    b"100%": "100%25",
    b"%FF": "%25FF",
    b"\x1b[31mred\x7f": "%1B[31mred%7F",
    b"[bold]:smile:": "[bold]:smile:",
    b"-rf": "-rf",
}


@pytest.mark.asyncio
async def test_odd_file_names_are_told_apart(repository: Repository, lasting_url: str) -> None:
    root = repository.commit(dict.fromkeys(ODD_NAMES, b"1\n"))

    result = run(repository, lasting_url)

    assert_ran(result, commits=1, events=1 + len(ODD_NAMES))
    assert "\x1b" not in result.out
    assert "\u202e" not in result.out
    events = [event for event in await recorded(lasting_url) if event.event_type == "FileCreated"]
    assert {event.data["path"] for event in events} == set(ODD_NAMES.values())
    assert {event.stream_id for event in events} == {f"git-{root[:12]}/{name}" for name in ODD_NAMES.values()}


@pytest.mark.asyncio
async def test_long_paths_have_a_stream_each(repository: Repository, lasting_url: str) -> None:
    folder = "/".join(["long" * 50] * 10)
    repository.commit({f"{folder}/a": b"1\n", f"{folder}/b": b"1\n", f"{'🎉' * 60}/{'🎉' * 60}": b"1\n"})
    repository.commit({f"{folder}/a": b"2\n"})

    assert_ran(run(repository, lasting_url), commits=2, events=6)
    events = [event for event in await recorded(lasting_url) if event.event_type != "CommitRecorded"]
    assert sorted(Counter(event.stream_id for event in events).values()) == [1, 1, 2]
    assert {event.data["path"] for event in events} >= {f"{folder}/a", f"{folder}/b"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"", "(no name)"),
        (b"two  spaces", "two  spaces"),
        ("日本".encode(), "日本"),
        (b"J\xf6rg", "J\N{REPLACEMENT CHARACTER}rg"),
        (b"\x1b[2Jgone", "\N{REPLACEMENT CHARACTER}[2Jgone"),
        (b"[red]:smile:", "[red]:smile:"),
    ],
)
def test_odd_author_names_are_shown_harmlessly(repository: Repository, name: bytes, shown: str) -> None:
    stream = (
        b"commit refs/heads/main\ncommitter %s <c@example.org> 1700000000 +0000\ndata 0\nM 100644 inline a\ndata 0\n"
    )
    repository.git("fast-import", "--quiet", input=stream % name)

    result = run(repository, "memory://")

    assert_ran(result, commits=1, events=2)
    assert f"│ {shown} " in result.out


def test_a_terminal_that_knows_only_ascii(repository: Repository) -> None:
    make_history(repository)

    result = run(repository, "memory://", environment={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})

    assert_ran(result, commits=9, events=18)
    assert "| ?em [b] |" in result.out


def test_merges_count_as_commits_and_their_lines_as_those_of_their_parents(repository: Repository) -> None:
    repository.commit({"a": b"1\n"}, author="Ada")
    for branch in ("x", "y", "z"):
        repository.git("switch", "--quiet", "--create", branch, "main")
        repository.commit({branch: b"1\n2\n", "shared": b"same\n"}, author=branch)
    repository.git("switch", "--quiet", "main")
    repository.merge("x", "y", "z", author="Mel")
    orphan = make_repository(repository.folder.with_name("orphan"))
    orphan.commit({"from orphan": b"1\n"}, author="Ora")
    repository.git("fetch", "--quiet", str(orphan.folder), "main")
    repository.git("merge", "--quiet", "--allow-unrelated-histories", "-m", "x", "FETCH_HEAD", author="Mel")

    result = run(repository, "memory://")

    assert_ran(result, commits=7, events=7 + 1 + 6 + 1)
    cells = _cells(result.out)
    assert cells["Mel"] == ["2", "0", "0"]
    assert cells["x"] == cells["y"] == cells["z"]
    assert cells["shared"] == ["3", "3", "0"]
    assert result.out.endswith("Commits: 7, authors: 6, files: 6 (ever: 6), events: 15\n")


def _cells(out: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    return {name: cells for name, *cells in rows}


def test_a_larger_history_agrees_with_git(repository: Repository, any_url: str) -> None:
    repository.git("fast-import", "--quiet", input=_many_commits(300))
    numstat = repository.git("log", "--no-merges", "-M", "--numstat", "--format=@%an", "main")
    lines = Counter[tuple[str, int]]()
    author = ""
    for line in filter(None, numstat.splitlines()):
        if line.startswith("@"):
            author = line[1:]
        else:
            added, removed, _ = line.split("\t", 2)
            lines[author, 1] += int(added)
            lines[author, 2] += int(removed)
    commits = Counter(repository.git("log", "--format=%an", "main").splitlines())
    files = repository.git("ls-tree", "-r", "--name-only", "main").splitlines()

    result = run(repository, any_url)

    assert result.code == 0
    assert result.out == run(repository, "memory://").out
    assert result.out.splitlines()[-1].startswith(f"Commits: 300, authors: 5, files: {len(files)} (ever: ")
    cells = _cells(result.out)
    for name, count in commits.items():
        assert cells[name] == [f"{count:,}", f"{lines[name, 1]:,}", f"{lines[name, 2]:,}"]


def _many_commits(count: int) -> bytes:
    """Return a `git fast-import` stream: files that come, change, move and go, empty commits, and merges."""
    stream = [b"reset refs/heads/main\n"]
    text = {number: b"".join(b"%d %d\n" % (number, line) for line in range(20)) for number in range(40)}
    for mark in range(1, count + 1):
        stream.append(b"commit refs/heads/main\nmark :%d\n" % mark)
        stream.append(b"committer dev %d <d@example.org> %d +0000\ndata 0\n" % (mark % 5, 1_700_000_000 + mark))
        if mark % 20 == 0:  # what the other parent did is in this one's tree already
            stream.append(b"from :%d\nmerge :%d\n\n" % (mark - 1, mark - 7))
            continue
        stream.append(b"from :%d\n" % (mark - 1) if mark > 1 else b"")
        slot = mark % 40
        name, renamed = b'"src/\\303\\274 %d"' % slot, b'"src/moved\\n%d"' % slot
        text[slot] += b"commit %d\n" % mark
        match mark // 40:
            case 3 if slot % 3 == 1:
                stream.append(b"R %s %s\n" % (name, renamed))
            case 4 if slot % 3 == 2:
                stream.append(b"D %s\n" % name)
            case 5 if slot % 3 == 0:
                pass
            case turn:
                path = renamed if turn > 3 and slot % 3 == 1 else name
                stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(text[slot]), text[slot]))
        stream.append(b"\n")
    return b"".join(stream)


def test_a_commit_of_ten_thousand_files(repository: Repository, any_url: str) -> None:
    stream = [
        b"blob\nmark :1\ndata 2\n1\n\ncommit refs/heads/main\ncommitter C <c@example.org> 1700000000 +0000\ndata 0\n"
    ]
    stream += [b"M 100644 :1 folder %d/file %d\n" % (number % 100, number) for number in range(10_000)]
    repository.git("fast-import", "--quiet", input=b"".join(stream))

    assert_ran(run(repository, any_url), commits=1, events=10_001)


def test_a_history_of_nothing_but_empty_commits(repository: Repository, any_url: str) -> None:
    for _ in range(3):
        repository.commit()

    result = run(repository, any_url)

    assert_ran(result, commits=3, events=3)
    assert result.out.endswith("Commits: 3, authors: 1, files: 0 (ever: 0), events: 3\n")


def test_the_users_git_configuration_makes_no_difference(repository: Repository, tmp_path: Path) -> None:
    make_history(repository)
    configuration = tmp_path / "gitconfig"
    configuration.write_text(
        """
        [diff]
            renames = false
            relative = true
            noprefix = true
            external = /bin/false
            algorithm = patience
        [log]
            showRoot = false
            showSignature = true
            decorate = full
        [color]
            ui = always
        [i18n]
            logOutputEncoding = latin1
        """
    )

    configured = run(repository.folder / "src", "memory://", environment={"GIT_CONFIG_GLOBAL": str(configuration)})

    assert_ran(configured, commits=9, events=18)
    assert configured.out == run(repository, "memory://").out


def test_without_arguments_it_records_the_current_folder_into_a_file_there(repository: Repository) -> None:
    make_history(repository)

    done = subprocess.run(
        [sys.executable, SCRIPT], cwd=repository.folder, capture_output=True, check=True, encoding="utf-8"
    )

    assert done.stdout == run(repository, "memory://").out
    assert (repository.folder / "git_history.db").exists()


def test_a_shallow_clone_is_refused(repository: Repository, tmp_path: Path) -> None:
    make_history(repository)
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(tmp_path / "shallow"))

    assert _refusal(tmp_path / "shallow").startswith("the clone is shallow")


def test_a_folder_without_a_history_is_refused(repository: Repository, tmp_path: Path) -> None:
    assert _refusal(repository.folder) == "the repository has no commits yet"
    assert "No such file or directory" in _refusal(tmp_path / "missing")
    plain = tmp_path / "plain"
    plain.mkdir()
    assert _refusal(plain, GIT_CEILING_DIRECTORIES=str(tmp_path)).startswith("fatal: not a git repository")


def test_a_machine_without_git(repository: Repository, tmp_path: Path) -> None:
    assert _refusal(repository.folder, PATH=str(tmp_path)) == "cannot run git: No such file or directory"


def _refusal(folder: Path, **environment: str) -> str:
    """Return the reason that a run gives in its one line."""
    result = run(folder, "memory://", environment=environment)
    prefix = f"git_history: {folder}: "
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(prefix)
    assert result.err.count("\n") == 1
    return result.err.removeprefix(prefix).strip()


@pytest.mark.parametrize("url", ["nosuch://", "memory://?nosuch=1", "sqlite:////no/such/folder/events.db"])
def test_a_store_that_cannot_be_opened_is_told_in_one_line(repository: Repository, url: str) -> None:
    repository.commit()

    result = run(repository, url)

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("git_history: ")
    assert result.err.count("\n") == 1

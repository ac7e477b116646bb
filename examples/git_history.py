"""Turn the history of a git repository into events, and the events into tables.

    pip install 'eventstore-kit[sqlite,cli]'
    python examples/git_history.py                                     # this folder's repository, into git_history.db
    python examples/git_history.py ~/src/project --store postgresql://user@host/db

Every commit becomes one transaction of `append_many`: an event on the stream of the repository, and one on the stream
of each file that it touched. The tables are then computed from the log alone, whatever store it is in.

    git-<root>           CommitRecorded          <root>: the id of the repository's first commit, shortened, so that one
    git-<root>/<path>    FileCreated               store keeps many repositories apart, and clones of one together
                         FileChanged
                         FileRenamed             on the new path's stream; the old path's ends with FileMovedAway
                         FileDeleted

Run it again and it adds what is new. The last CommitRecorded tells git where to go on; and as event ids are computed
from stream and commit, a commit that is read a second time (two branches, two runs at once) is appended to no effect.
Commits arrive parents first, so whatever interrupts a run, the next one completes it.

The history is read as `git log` shows it. A merge is recorded, but what it brings was told by the commits that it
joins, and how it resolved a conflict is not told at all. A history with branches is a graph and the log is a line: two
branches may both create a file, and a file that a merge brought back counts as gone. Commits that were rewritten
(rebase, amend) stay in the log beside the new ones: it records what happened.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import re
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from tempfile import TemporaryFile
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import eventstore
from eventstore import (
    ANY,
    DuplicateEventId,
    EventStore,
    EventStoreError,
    Filter,
    JsonObject,
    NewEvent,
    RecordedEvent,
    StreamWrite,
)

DEFAULT_STORE: Final = "sqlite:///git_history.db"
STREAM_TYPE: Final = "git"
TOP: Final = 10


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description="Record a git repository's history as events, and print who did what.")
    parser.add_argument("repository", metavar="REPO", nargs="?", default=".", help="a git repository (default: .)")
    parser.add_argument("--store", metavar="URL", default=DEFAULT_STORE, help=f"event store (default: {DEFAULT_STORE})")
    arguments = parser.parse_args()
    try:
        print_tables(asyncio.run(record_and_replay(arguments.repository, arguments.store)))
    except KeyboardInterrupt:
        return complain("interrupted; what is recorded is safe, run again to go on", code=130)
    except GitError as error:
        return complain(f"{arguments.repository}: {error}", code=2)
    except EventStoreError as error:
        return complain(str(error), code=1)
    return 0


async def record_and_replay(folder: str, url: str) -> History:
    """Bring the store up to date with the repository, then rebuild the projection from its log."""
    repository = await open_repository(folder)
    async with eventstore.open_store(url) as store:
        await record(repository, store)
        return await replay(repository, store)


# --- Recording: from commits to events -------------------------------------------------------------------------------


async def record(repository: Repository, store: EventStore) -> None:
    """Append the commits that the store does not have yet, parents first, one transaction each."""
    head_before = await store.head()
    last = [event.data["commit"] async for event in store.read_stream(repository.stream_id, backward=True, limit=1)]
    # The ancestors of the last one were all recorded before it. If it was rewritten and is gone, read everything again.
    revisions = [repository.head, *[f"^{commit_id}" for commit_id in last if await repository.has_commit(commit_id)]]

    new_commits = new_events = 0
    with progress_bar() as progress:
        task = progress.add_task("Recording commits", total=await repository.count(revisions))
        async with aclosing(repository.commits(revisions)) as commits:
            async for commit in commits:
                progress.advance(task)
                try:
                    recorded = await store.append_many(list(writes_for(commit, repository)))
                except DuplicateEventId:
                    continue  # told otherwise by an earlier run, when git or .gitattributes were others: that stands
                if recorded[0][0].global_position > head_before:  # else an earlier run told the same
                    new_commits += 1
                    new_events += len(recorded)
    print(f"New commits: {new_commits:,}, new events: {new_events:,}", file=sys.stderr)


def writes_for(commit: Commit, repository: Repository) -> Iterator[StreamWrite]:
    """Yield what a commit appends: one event on each stream that it concerns."""

    def write(stream_id: str, event_type: str, facts: JsonObject) -> StreamWrite:
        data = {"commit": commit.id, "author": commit.author, "time": commit.time, **facts}
        event_id = uuid5(NAMESPACE_URL, f"{stream_id}#{commit.id}")
        return StreamWrite(stream_id, [NewEvent(event_type, data, event_id=event_id)], ANY)

    yield write(repository.stream_id, "CommitRecorded", {"parents": commit.parents})
    for change in commit.changes:
        yield write(repository.file_stream_id(change.path), change.event_type, change.facts)


def progress_bar() -> Progress:
    """Return a progress bar on stderr, silent unless that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


# --- Replaying: from events to tables --------------------------------------------------------------------------------


@dataclass(slots=True)
class Totals:
    """What one author did (`count` commits), or what happened at one path (`count` changes)."""

    count: int = 0
    added: int = 0
    removed: int = 0


@dataclass(slots=True)
class History:
    """The projection: everything that the tables show, from the events seen so far."""

    events: int = 0
    commits: int = 0
    authors: defaultdict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    files: defaultdict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    gone: set[str] = field(default_factory=set)

    def apply(self, event: RecordedEvent) -> None:
        """Take in the next event of the log."""
        self.events += 1
        author = self.authors[event.data["author"]]
        if event.event_type == "CommitRecorded":
            self.commits += 1
            author.count += 1
            return
        path = event.data["path"]
        file = self.files[path]
        file.count += 1
        for totals in (author, file):
            totals.added += event.data["added"] or 0  # None: a binary file has no lines
            totals.removed += event.data["removed"] or 0
        match event.event_type:
            case "FileCreated" | "FileRenamed":
                self.gone.discard(path)
            case "FileDeleted" | "FileMovedAway":
                self.gone.add(path)


async def replay(repository: Repository, store: EventStore) -> History:
    """Rebuild the projection from the log."""
    history = History()
    # The stream type is what stores index; the prefix leaves out other repositories in the same store.
    of_repository = Filter(stream_types=[STREAM_TYPE], stream_id_prefix=repository.stream_id)
    async for event in store.read_all(filter=of_repository):
        history.apply(event)
    return history


def print_tables(history: History) -> None:
    """Print the authors with the most lines, the busiest files, and the totals."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names that the terminal's encoding cannot show
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    authors = sorted(history.authors.items(), key=lambda item: (-item[1].added - item[1].removed, item[0]))
    console.print(table("Authors by lines", ("Author", "Commits"), authors))
    files = sorted(history.files.items(), key=lambda item: (-item[1].count, item[0]))
    marked = ((f"{path} (gone)" if path in history.gone else path, totals) for path, totals in files)
    console.print(table("Busiest files", ("File", "Changes"), marked))
    existing = len(files) - len(history.gone)
    console.print(f"Commits: {history.commits:,}, authors: {len(authors):,}, files: {existing:,} ", end="")
    console.print(f"(ever: {len(files):,}), events: {history.events:,}")


def table(title: str, columns: tuple[str, str], rows: Iterable[tuple[str, Totals]]) -> Table:
    """Return a table of the first rows."""
    table = Table(columns[0], title=title, title_justify="left")
    for column in (columns[1], "Added", "Removed"):
        table.add_column(column, justify="right")
    for name, totals in islice(rows, TOP):
        table.add_row(printable(name), f"{totals.count:,}", f"{totals.added:,}", f"{totals.removed:,}")
    return table


# --- Reading git -----------------------------------------------------------------------------------------------------


class GitError(Exception):
    """Git failed, or the repository is not one that can be recorded; the message is one line."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one path, as the type and the facts of an event."""

    path: bytes
    event_type: str
    facts: JsonObject


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; `time` is the author's, ISO 8601. Merges and empty commits have no changes."""

    id: str
    parents: list[str]
    author: str
    time: str
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, at the commit that was its HEAD when it was opened."""

    folder: str
    head: str
    root: str

    @property
    def stream_id(self) -> str:
        """The stream of its commits, and the prefix of its files' streams."""
        return f"{STREAM_TYPE}-{self.root[:12]}"

    def file_stream_id(self, path: bytes) -> str:
        """Return the stream of a file: a stream id has at most 255 characters, so a long path ends in its hash."""
        name = storable(path)
        if len(name) > 200:
            name = f"{name[:160]}%~{hashlib.sha256(path).hexdigest()[:32]}"  # no storable path contains "%~"
        return f"{self.stream_id}/{name}"

    async def has_commit(self, commit_id: str) -> bool:
        """Tell whether a commit is still there."""
        try:
            await git(self.folder, "cat-file", "-e", f"{commit_id}^{{commit}}")
        except GitError:
            return False
        return True

    async def count(self, revisions: list[str]) -> int:
        """Return how many commits `commits` yields."""
        return int(await git(self.folder, "rev-list", "--count", *revisions))

    async def commits(self, revisions: list[str]) -> AsyncGenerator[Commit, None]:
        """Yield commits, parents first, reading them while git writes them."""
        rest = b""
        async with aclosing(run_git(self.folder, *LOG, *revisions)) as output:
            async for chunk in output:
                *records, rest = (rest + chunk).split(b"\0\0")
                for record in records:
                    yield parse_commit(record)
        if rest:  # git has ended well, so this one is complete
            yield parse_commit(rest)


# The same commit must give the same events, whatever the user's configuration says.
LOG: Final = (
    *("-c", "log.showRoot=true", "log", "--reverse", "--topo-order", "--no-show-signature", "--encoding=UTF-8"),
    *("--no-color", "--no-relative", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none"),
    *("--diff-algorithm=myers", "-M50%", "-l1000", "--raw", "--numstat", "--no-abbrev", "-z"),
    "--format=%x00%H%x09%P%x09%aI%x09%an",  # starts with a NUL: two in a row stand between commits, and nowhere else
)
EVENT_TYPES: Final = {"A": "FileCreated", "M": "FileChanged", "T": "FileChanged", "D": "FileDeleted"}


async def open_repository(folder: str) -> Repository:
    """Find the repository that a folder is in."""
    if await git(folder, "rev-parse", "--is-shallow-repository") == "true":
        raise GitError("the clone is shallow, its history is cut off; complete it with: git fetch --unshallow")
    try:
        head = await git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GitError:
        raise GitError("the repository has no commits yet") from None
    return Repository(folder, head, root=await git(folder, "rev-list", "--first-parent", "--max-parents=0", head))


def parse_commit(record: bytes) -> Commit:
    """Parse one commit of the output of `git log` with the options of `LOG`."""
    fields = iter(record.strip(b"\0").split(b"\0"))
    commit_id, parents, time, author = next(fields).decode("utf-8", "replace").split("\t", 3)
    changes: list[Change] = []
    lines: dict[bytes, JsonObject] = {}
    for item in fields:
        if item.lstrip(b"\n").startswith(b":"):  # :100644 100644 <blob> <blob> M, path; or ... R100, old path, path
            status, path = chr(item.rpartition(b" ")[2][0]), next(fields)
            if status == "R":
                old_path, path = path, next(fields)
                changes.append(Change(old_path, "FileMovedAway", {"new_path": storable(path)}))
                changes.append(Change(path, "FileRenamed", {"old_path": storable(old_path)}))
            else:
                changes.append(Change(path, EVENT_TYPES[status], {}))
        else:  # <added> TAB <removed> TAB path; or <added> TAB <removed> TAB, old path, path; "-" if binary
            added, removed, path = item.split(b"\t", 2)
            if not path:
                _, path = next(fields), next(fields)
            is_text = added != b"-"
            lines[path] = {"added": int(added) if is_text else None, "removed": int(removed) if is_text else None}
    for change in changes:
        change.facts.update(lines.get(change.path, {"added": 0, "removed": 0}), path=storable(change.path))
    return Commit(commit_id, parents.split(), author or "(no name)", time, changes)


async def git(folder: str, *arguments: str) -> str:
    """Run a git command and return what it prints."""
    async with aclosing(run_git(folder, *arguments)) as output:
        return b"".join([chunk async for chunk in output]).decode().strip()


async def run_git(folder: str, *arguments: str) -> AsyncGenerator[bytes, None]:
    """Run a git command and yield its output as it comes. Raises `GitError` at the end if the command failed."""
    with TemporaryFile() as complaints:
        try:
            process = await asyncio.create_subprocess_exec(
                *("git", "-C", folder, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,  # so that Ctrl-C is ours to handle
            )
        except OSError as error:
            raise GitError(f"cannot run git: {error.strerror}") from None
        assert process.stdout
        try:
            while chunk := await process.stdout.read(2**20):
                yield chunk
            if await process.wait() != 0:
                complaints.seek(0)
                lines = complaints.read().decode("utf-8", "replace").splitlines()
                raise GitError(([line for line in lines if line.startswith("fatal: ")] or lines or ["git failed"])[0])
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


# --- Text ------------------------------------------------------------------------------------------------------------


def storable(path: bytes) -> str:
    """Return a path as text, with `%`, control characters and bytes that are not UTF-8 percent-encoded."""
    return re.sub("[%\x00-\x1f\x7f-\x9f\udc80-\udcff]", _percent, path.decode("utf-8", "surrogateescape"))


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))


def printable(text: str) -> Text:
    """Return text for a table: nothing in it moves the cursor, changes direction or is taken for markup."""
    return Text("".join(character if character.isprintable() else "\ufffd" for character in text))


def complain(message: str, *, code: int) -> int:
    """Print an error in one line, and return the exit code."""
    print("git_history:", " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

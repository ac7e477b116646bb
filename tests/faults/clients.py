"""Starting client processes, hurting them, and checking what they have written down against the log."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from eventstore import NO_STREAM, NewEvent, RecordedEvent, open_store
from eventstore_conformance.anomalies import Anomaly
from eventstore_conformance.checking import check
from eventstore_conformance.history import Append, Record
from eventstore_conformance.recording import Journal, RecordingStore, read_journals
from tests.faults.client import CHECKPOINT

PROJECT: Final = Path(__file__).parents[2]
PATIENCE: Final = 30.0
"""Seconds after which something hangs, for the tests."""

_ACKNOWLEDGED: Final = b'"outcome":{"type":"Acknowledged"'


class Client:
    """A process that runs `tests.faults.client`."""

    def __init__(self, process: asyncio.subprocess.Process, journal: Path, errors: Path) -> None:
        self.process = process
        self.journal = journal
        self._errors = errors
        self._is_killed = False

    @property
    def is_killed(self) -> bool:
        """Whether it was killed here."""
        return self._is_killed

    def acknowledged(self) -> int:
        """Return how many appends it has had acknowledged."""
        return self.journal.read_bytes().count(_ACKNOWLEDGED) if self.journal.exists() else 0

    async def kill(self) -> None:
        """SIGKILL it."""
        self._is_killed = True
        self.process.kill()
        await self.process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP it for the block."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def finish(self) -> None:
        """Have it come to its end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"a client hangs, having said:\n{self.said()}") from None
        if status != 0:
            raise AssertionError(f"a client ended with status {status}, having said:\n{self.said()}")

    def said(self) -> str:
        """Return what it has logged lately."""
        return self._errors.read_text(errors="replace")[-5000:]


class Clients:
    """The client processes of one store, the dead ones included."""

    def __init__(self, url: str, folder: Path, seed: str, retry_timeout: float) -> None:
        self.url = url
        self.all: list[Client] = []
        self._folder = folder
        self._seed = seed
        self._retry_timeout = retry_timeout

    @property
    def alive(self) -> list[Client]:
        """Those that were not killed."""
        return [client for client in self.all if not client.is_killed]

    async def start(self) -> Client:
        """Start one more, and return when it is at work."""
        number = len(self.all)
        journal, errors = self._folder / f"client-{number}.jsonl", self._folder / f"client-{number}.log"
        arguments = (self.url, str(journal), f"{self._seed}/{number}", str(self._retry_timeout))
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.client", *arguments),
                cwd=PROJECT,
                stdin=PIPE,
                stdout=PIPE,
                stderr=file,
            )
        client = Client(process, journal, errors)
        self.all.append(client)
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            if await process.stdout.readline() != b"running\n":
                raise AssertionError(f"a client did not start:\n{client.said()}")
        return client

    async def until_acknowledged(self, number: int, among: Sequence[Client] | None = None) -> None:
        """Return when each of the clients, all that live unless said otherwise, has had so many more acknowledged."""
        goals = [(client, client.acknowledged() + number) for client in (self.alive if among is None else among)]
        try:
            async with asyncio.timeout(PATIENCE):
                for client, goal in goals:
                    while client.acknowledged() < goal:
                        if client.process.returncode is not None:
                            raise AssertionError(f"a client ended by itself:\n{client.said()}")
                        await asyncio.sleep(0.02)
        except TimeoutError:
            said = "\n".join(client.said() for client, _ in goals)
            raise AssertionError(f"nothing is acknowledged any more:\n{said}") from None

    async def until_written(self, text: bytes) -> None:
        """Return when one of the clients has written something down once more."""
        before = self._count(text)
        async with asyncio.timeout(PATIENCE):
            while self._count(text) == before:  # noqa: ASYNC110 - other processes tell nobody
                await asyncio.sleep(0.02)

    def _count(self, text: bytes) -> int:
        return sum(client.journal.read_bytes().count(text) for client in self.all if client.journal.exists())

    async def finish(self) -> Verdict:
        """Have those that live come to their end, read the log, and check it all."""
        await asyncio.gather(*(client.finish() for client in self.alive))
        return await self.verdict()

    async def verdict(self) -> Verdict:
        """Read the log, when all is quiet, and check what was written down against it."""
        journal = Journal()
        async with open_store(self.url, retry_timeout=PATIENCE) as store:
            last = RecordingStore(store, journal, worker="last")
            await last.load_checkpoint(CHECKPOINT)
            (end,) = await last.append("end-1", [NewEvent("Ended", {})], expected_version=NO_STREAM)
            log: list[RecordedEvent] = []
            async with asyncio.timeout(PATIENCE):
                while end not in log[-1:]:
                    log = [event async for event in store.read_all()]
        history = read_journals(client.journal for client in self.all)
        return Verdict.of([*history, *journal.history], log)


class Verdict(msgspec.Struct, frozen=True):
    """What the clients did, and what is wrong with it: nothing, if all is well."""

    appends: Counter[str]
    events: int
    anomalies: list[Anomaly]

    @classmethod
    def of(cls, history: list[Record], log: list[RecordedEvent]) -> Verdict:
        """Check a history against the log."""
        outcomes = Counter(type(record.outcome).__name__.lower() for record in history if isinstance(record, Append))
        return cls(outcomes, len(log), check(history, log))

    def require_soundness(self) -> None:
        """Raise an `AssertionError` that names what is wrong."""
        if self.anomalies:
            shown = "\n".join(map(str, self.anomalies[:5]))
            raise AssertionError(f"{len(self.anomalies)} anomalies among {dict(self.appends)} appends, as\n{shown}")


@asynccontextmanager
async def clients_on(
    url: str, folder: Path, *, number: int = 2, seed: str = "0", retry_timeout: float = 30
) -> AsyncIterator[Clients]:
    """Start clients, and kill in the end those that are left."""
    clients = Clients(url, folder, seed, retry_timeout)
    try:
        # One first: the others then find the schema made.
        await clients.start()
        await asyncio.gather(*(clients.start() for _ in range(number - 1)))
        yield clients
    finally:
        for client in clients.all:
            if client.process.returncode is None:
                await client.kill()

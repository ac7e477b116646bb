"""Recording histories: journals in files, and that the check of a recorded history catches stores that are broken."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    CheckpointConflict,
    DuplicateEventId,
    EventStore,
    NewEvent,
    StoreUnavailable,
    WrongExpectedVersion,
    open_store,
)
from eventstore.backend import Direction, LogPage
from eventstore.filters import Filter
from eventstore.operations import Limits
from eventstore_conformance.anomalies import AnomalyKind
from eventstore_conformance.checking import check
from eventstore_conformance.history import Acknowledged, Append, Refused, Unknown
from eventstore_conformance.observing import log_of
from eventstore_conformance.recording import Journal, RecordingStore, read_journals
from eventstore_conformance.workload import work
from eventstore_memory import MemoryBackend

PAGE = Path(__file__).parents[2] / "docs" / "histories.md"


def event() -> NewEvent:
    return NewEvent("Tried", {"n": 1})


@pytest.mark.asyncio
async def test_what_a_journal_holds_is_read_from_its_file(tmp_path: Path) -> None:
    async with open_store("memory://") as store:
        with Journal(tmp_path / "one.jsonl") as one, Journal(tmp_path / "two.jsonl") as two:
            log = await work([store], 1, one, cancelling=True)
            async for _ in RecordingStore(store, two, worker="later").read_all(filter=Filter(stream_types=["red"])):
                pass
        history = read_journals([tmp_path / "one.jsonl", tmp_path / "two.jsonl"])
        assert history == one.history + two.history
        assert check(history, log) == []


@pytest.mark.asyncio
async def test_refusals_are_told_from_outcomes_that_nobody_knows(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    async with EventStore(Failing(), retry_timeout=0) as store:
        recording = RecordingStore(store, journal, worker="one")
        taken = event()
        await recording.append("a-1", [taken], expected_version=NO_STREAM)
        with pytest.raises(WrongExpectedVersion):
            await recording.append("a-1", [event()], expected_version=NO_STREAM)
        with pytest.raises(DuplicateEventId):
            await recording.append("b-1", [taken], expected_version=ANY)
        for unknown in (False, True):
            Failing.failure = StoreUnavailable("gone", outcome_unknown=unknown)
            with pytest.raises(StoreUnavailable):
                await recording.append("a-1", [event()], expected_version=ANY)
        with pytest.raises(CheckpointConflict):
            await recording.save_checkpoint("c", 2, expected=1)
        log = await log_of(store)
    appends = [record for record in read_journals([tmp_path / "journal.jsonl"]) if isinstance(record, Append)]
    journal.close()
    assert [type(append.outcome) for append in appends] == [Acknowledged, Refused, Refused, Refused, Unknown]
    assert check(journal.history, log) == []


@pytest.mark.asyncio
async def test_a_call_whose_process_was_killed_is_in_the_file_and_unknown(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path / "journal.jsonl"))
    assert await process.wait() == -9
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"type":"cut off in the mid')
    (append,) = read_journals([tmp_path / "journal.jsonl"])
    assert isinstance(append, Append)
    assert isinstance(append.outcome, Unknown)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from eventstore import ANY, EventStore, NewEvent
from eventstore_conformance.recording import Journal, RecordingStore
from eventstore_memory import MemoryBackend

class Deadly(MemoryBackend):
    async def append(self, transactions):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with EventStore(Deadly()) as store:
        recording = RecordingStore(store, Journal(Path(sys.argv[1])), worker="doomed")
        await recording.append("a-1", [NewEvent("Tried", {})], expected_version=ANY)

asyncio.run(main())
"""


# --- Broken stores ---------------------------------------------------------------------------------------------------


class Failing(MemoryBackend):
    """Fails the next append with `failure`, if there is one."""

    failure: StoreUnavailable | None = None

    async def append(self, transactions: Sequence[Any]) -> Sequence[Any]:
        failure, Failing.failure = Failing.failure, None
        if failure is not None:
            raise failure
        return await super().append(transactions)


class Losing(MemoryBackend):
    """Acknowledges an append now and then that it did not store."""

    calls = 0

    async def append(self, transactions: Sequence[Any]) -> Sequence[Any]:
        self.calls += 1
        if self.calls % 10:
            return await super().append(transactions)
        outcomes: Sequence[Any] = ()
        with suppress(RolledBack):
            async with self.transaction() as transaction:
                outcomes = await transaction.append(transactions)
                raise RolledBack
        return outcomes


class RolledBack(Exception):
    """Raised to roll a transaction back."""


class Hiding(MemoryBackend):
    """Passes over an event now and then when it is read for the first time, as a late commit would be."""

    passed: set[int]

    def __init__(self) -> None:
        super().__init__()
        self.passed = set()

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        late = [event for event in page.events if event.global_position % 7 == 0][:1]
        hidden = {event.global_position for event in late} - self.passed
        self.passed |= hidden
        return LogPage(
            [event for event in page.events if event.global_position not in hidden], page.looked_to, page.at_end
        )


@pytest.mark.asyncio
@pytest.mark.parametrize(("broken", "kind"), [(Losing, AnomalyKind.LOST), (Hiding, AnomalyKind.READ_MISSED)])
@pytest.mark.parametrize("seed", range(3))
async def test_a_broken_store_is_caught(broken: Callable[[], MemoryBackend], kind: AnomalyKind, seed: int) -> None:
    journal = Journal()
    async with EventStore(broken()) as store:
        log = await work([store], seed, journal, cancelling=False)
    assert kind in {anomaly.kind for anomaly in check(journal.history, log)}


class Repeating(MemoryBackend):
    """Has the last event of a page once more in the next one."""

    async def read_all(self, start: int | None, limit: int, direction: Direction, filter: Filter | None) -> LogPage:
        page = await super().read_all(start, limit, direction, filter)
        return LogPage(page.events, page.looked_to - bool(page.events and not page.at_end), page.at_end)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("backend", "kinds"),
    [
        (MemoryBackend, set()),
        (Hiding, {AnomalyKind.READ_MISSED}),
        (Repeating, {AnomalyKind.READ_NOT_ASKED_FOR}),
    ],
)
async def test_a_subscription_that_misses_or_repeats_something_is_caught(
    backend: Callable[[], MemoryBackend], kinds: set[AnomalyKind]
) -> None:
    journal = Journal()
    async with EventStore(backend(), limits=Limits(page_size=3)) as store:
        recording = RecordingStore(store, journal, worker="one")
        log = [(await recording.append("a-1", [event()], expected_version=ANY))[0] for _ in range(10)]
        async for seen in recording.subscribe():
            if seen == log[-1]:
                break
    assert {anomaly.kind for anomaly in check(journal.history, log)} == kinds


# --- The page --------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page_prints_what_the_page_shows(tmp_path: Path) -> None:
    code, shown = re.findall(r"```(?:python|text)\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (shown, "")

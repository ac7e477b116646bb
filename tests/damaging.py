"""A store with a little of everything in it, to be damaged, and what `verify` then says."""

from __future__ import annotations

from typing import NamedTuple

from eventstore import ANY, NO_STREAM, EventStore, NewEvent, ProblemKind, RecordedEvent


class Found(NamedTuple):
    """A problem without its words: what is broken, and where."""

    kind: ProblemKind
    stream_id: str | None = None
    version: int | None = None
    global_position: int | None = None
    name: str | None = None


async def handle_nothing(event: RecordedEvent) -> None:
    """Do nothing."""


async def fill(store: EventStore) -> None:
    """Fill an empty store.

    `order-1` has the positions 1 to 5, `order-2` those from 6 to 10, `order-3` (without its first two) 13; `empty-1`
    had 14 and 15; the deleted `gone-1` has 16 and 17; `order-1` and `empty-1` have a snapshot.
    """
    for stream_id, number in (("order-1", 5), ("order-2", 5), ("order-3", 3), ("empty-1", 2), ("gone-1", 2)):
        events = [NewEvent("Counted", {"n": n}, {"by": "me"}) for n in range(number)]
        await store.append(stream_id, events, expected_version=NO_STREAM)
    await store.save_snapshot("order-1", 3, {"n": 3})
    await store.save_snapshot("empty-1", 2, {"n": 2})
    await store.truncate_stream("order-3", 3)
    await store.truncate_stream("empty-1", 99)
    await store.delete_stream("gone-1", expected_version=ANY)
    await store.save_checkpoint("reader", 10, expected=0)
    await store.consumer("worker", handle_nothing).run_until_caught_up()


async def found_in(store: EventStore) -> list[Found]:
    """Verify a store, and return what is broken."""
    verification = await store.verify()
    assert verification.more_problems == 0
    return [
        Found(problem.kind, problem.stream_id, problem.version, problem.global_position, problem.name)
        for problem in verification.problems
    ]

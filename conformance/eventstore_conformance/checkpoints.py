"""Chapter Checkpoints: compare-and-set, and never silently back."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import CheckpointConflict, EventStore, InvalidArgument
from eventstore_conformance.chapter import Chapter
from eventstore_conformance.making import BAD_COUNTS, BAD_NAMES, LOOKALIKES, PECULIAR_NAMES, some_events
from eventstore_conformance.observing import collect, nothing_written, outcomes_of


class Checkpoints(Chapter):
    """`save_checkpoint` and `load_checkpoint`."""

    async def test_a_checkpoint_begins_at_zero(self, store: EventStore) -> None:
        """CHECKPOINT-01: A name that was never saved is at 0."""
        assert await store.load_checkpoint("reader") == 0

    async def test_a_checkpoint_moves_from_where_it_is(self, store: EventStore) -> None:
        """CHECKPOINT-02: A checkpoint moves forward from the position that was loaded, up to the largest of 64 bits."""
        at = 0
        for position in (1, 2, 1_000, 2**31, 2**53 + 1, 2**63 - 1):
            await store.save_checkpoint("reader", position, expected=at)
            at = await store.load_checkpoint("reader")
            assert at == position

    async def test_a_checkpoint_takes_the_position_of_an_event(self, store: EventStore) -> None:
        """CHECKPOINT-03: A reader saves the position it saw and reads on after it."""
        recorded = await store.append("cart-1", some_events(4), expected_version=0)
        await store.save_checkpoint("reader", recorded[1].global_position, expected=0)
        position = await store.load_checkpoint("reader")
        assert await collect(store.read_all(after=position)) == recorded[2:]

    async def test_a_checkpoint_may_stay_where_it_is(self, store: EventStore) -> None:
        """CHECKPOINT-04: Saving the position that is there already is no conflict."""
        await store.save_checkpoint("reader", 0, expected=0)
        await store.save_checkpoint("reader", 5, expected=0)
        await store.save_checkpoint("reader", 5, expected=5)
        assert await store.load_checkpoint("reader") == 5

    @pytest.mark.parametrize("expected", [0, 4, 6, 9, 2**63 - 1])
    async def test_a_checkpoint_moved_by_another_is_left_alone(self, store: EventStore, expected: int) -> None:
        """CHECKPOINT-05: From anywhere but where it is, a save raises `CheckpointConflict` with its facts."""
        await store.save_checkpoint("reader", 5, expected=0)
        with pytest.raises(CheckpointConflict) as refusal:
            await store.save_checkpoint("reader", 7, expected=expected, rewind=True)
        assert (refusal.value.name, refusal.value.expected, refusal.value.actual) == ("reader", expected, 5)
        assert await store.load_checkpoint("reader") == 5

    async def test_a_new_checkpoint_is_expected_at_zero(self, store: EventStore) -> None:
        """CHECKPOINT-06: A name that was never saved is not at any other position."""
        with pytest.raises(CheckpointConflict) as refusal:
            await store.save_checkpoint("reader", 7, expected=3)
        assert refusal.value.actual == 0
        assert await store.load_checkpoint("reader") == 0

    async def test_a_checkpoint_goes_back_on_purpose_only(self, store: EventStore) -> None:
        """CHECKPOINT-07: A position below the expected one raises `InvalidArgument`, unless `rewind` is true."""
        await store.save_checkpoint("reader", 9, expected=0)
        for position in (0, 8):
            with pytest.raises(InvalidArgument):
                await store.save_checkpoint("reader", position, expected=9)
        assert await store.load_checkpoint("reader") == 9
        await store.save_checkpoint("reader", 4, expected=9, rewind=True)
        assert await store.load_checkpoint("reader") == 4
        await store.save_checkpoint("reader", 0, expected=4, rewind=True)
        assert await store.load_checkpoint("reader") == 0
        await store.save_checkpoint("reader", 2, expected=0)
        assert await store.load_checkpoint("reader") == 2

    async def test_one_of_many_racers_moves_the_checkpoint(self, two_stores: tuple[EventStore, EventStore]) -> None:
        """CHECKPOINT-08: Of many saves from one position one succeeds; the others are told where it went."""
        at = 0
        for base in (100, 200):
            moved, refused = await outcomes_of(
                *(two_stores[n % 2].save_checkpoint("reader", base + n, expected=at) for n in range(16))
            )
            assert (len(moved), len(refused)) == (1, 15)
            found = await two_stores[0].load_checkpoint("reader")
            for error in refused:
                assert isinstance(error, CheckpointConflict)
                assert (error.expected, error.actual) == (at, found)
            at = found
            assert at >= base

    async def test_checkpoints_are_kept_by_plain_names(self, store: EventStore) -> None:
        """CHECKPOINT-09: Each name has its own checkpoint, whatever it looks like."""
        names = sorted({*PECULIAR_NAMES, *(name for pair in LOOKALIKES for name in pair)})
        for position, name in enumerate(names, 1):
            await store.save_checkpoint(name, position, expected=0)
        assert [await store.load_checkpoint(name) for name in names] == list(range(1, len(names) + 1))

    async def test_a_checkpoint_changes_nothing_else(self, store: EventStore) -> None:
        """CHECKPOINT-10: Checkpoints touch neither streams nor the log, and have nothing to do with stream ids."""
        await store.append("cart-1", some_events(2), expected_version=0)
        async with nothing_written(store):
            await store.save_checkpoint("cart-1", 5, expected=0)
            await store.save_checkpoint("cart-2", 5, expected=0)
        await store.delete_stream("cart-1", expected_version=2, erase=True)
        assert await store.load_checkpoint("cart-1") == 5

    @pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
    async def test_a_bad_checkpoint_name_is_refused(self, store: EventStore, name: Any) -> None:
        """CHECKPOINT-11: Names are held to the rules of stream ids."""
        with pytest.raises(InvalidArgument):
            await store.save_checkpoint(name, 1, expected=0)
        with pytest.raises(InvalidArgument):
            await store.load_checkpoint(name)

    @pytest.mark.parametrize("bad", [None, *BAD_COUNTS], ids=repr)
    async def test_a_bad_position_is_refused(self, store: EventStore, bad: Any) -> None:
        """CHECKPOINT-12: Positions are integers from 0 on."""
        with pytest.raises(InvalidArgument):
            await store.save_checkpoint("reader", bad, expected=0)
        with pytest.raises(InvalidArgument):
            await store.save_checkpoint("reader", 1, expected=bad)

"""Event records, their ids, and the metadata that links them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventstore import JsonObject, NewEvent, RecordedEvent, caused_by, event_ids_from


def recorded(metadata: JsonObject) -> RecordedEvent:
    return RecordedEvent("cart-1", "cart", 1, 7, UUID(int=5), "Placed", {}, metadata, datetime(2020, 1, 1, tzinfo=UTC))


def test_new_events_get_ids_that_grow() -> None:
    ids = [NewEvent("Placed", {}).event_id for _ in range(100)]
    assert ids == sorted(set(ids))
    assert all(type(event_id) is UUID and event_id.version == 7 for event_id in ids)


def test_new_events_do_not_share_their_metadata() -> None:
    assert NewEvent("Placed", {}).metadata is not NewEvent("Placed", {}).metadata


def test_events_are_frozen() -> None:
    for event in (NewEvent("Placed", {}), recorded({})):
        with pytest.raises(AttributeError):
            event.event_type = "Paid"  # type: ignore[misc]


def test_recorded_events_can_be_put_in_sets() -> None:
    assert len({recorded({}), recorded({})}) == 1


def test_event_ids_come_from_the_innermost_block() -> None:
    numbers = iter(range(100))
    with event_ids_from(lambda: UUID(int=next(numbers))):
        assert NewEvent("Placed", {}).event_id == UUID(int=0)
        with event_ids_from(lambda: UUID(int=999)):
            assert NewEvent("Placed", {}).event_id == UUID(int=999)
        assert NewEvent("Placed", {}).event_id == UUID(int=1)
    assert NewEvent("Placed", {}).event_id.version == 7


def test_event_ids_are_as_before_after_an_exception() -> None:
    def work() -> None:
        with event_ids_from(lambda: UUID(int=1)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert NewEvent("Placed", {}).event_id.version == 7


def test_an_id_of_ones_own_is_kept() -> None:
    with event_ids_from(lambda: UUID(int=1)):
        assert NewEvent("Placed", {}, event_id=UUID(int=2)).event_id == UUID(int=2)


def test_the_first_event_of_a_conversation_names_it() -> None:
    cause = str(UUID(int=5))
    assert caused_by(recorded({})) == {"correlation_id": cause, "causation_id": cause}


def test_a_conversation_goes_on() -> None:
    link = caused_by(recorded({"correlation_id": "talk", "causation_id": "before"}))
    assert link == {"correlation_id": "talk", "causation_id": str(UUID(int=5))}


def test_other_metadata_is_kept_and_not_changed() -> None:
    metadata: JsonObject = {"user": "ann", "causation_id": "old"}
    assert caused_by(recorded({"correlation_id": "talk"}), metadata) == {
        "user": "ann",
        "correlation_id": "talk",
        "causation_id": str(UUID(int=5)),
    }
    assert metadata == {"user": "ann", "causation_id": "old"}

"""Filters refuse at once what matches nothing; which streams a listing asks for."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from eventstore import Filter, InvalidArgument
from eventstore.events import stream_type_of
from eventstore.filters import WantedIds, wanted_ids
from eventstore_conformance.making import BAD_NAMES

IDS = ["order", "order-", "order-1", "order-12", "order.1", "orderly", "orderly-1", "or", "-", "-1", "other-1"]


@pytest.mark.parametrize("field", ["stream_types", "event_types"])
@pytest.mark.parametrize("names", [[], "order", 5, b"order", *([name] for name in BAD_NAMES)], ids=ascii)
def test_a_bad_list_of_types_is_refused(field: str, names: Any) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        Filter(**{field: names})
    assert refusal.value.argument == field


@pytest.mark.parametrize("prefix", [name for name in BAD_NAMES if name is not None], ids=ascii)
def test_a_bad_prefix_is_refused(prefix: Any) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        Filter(stream_id_prefix=prefix)
    assert refusal.value.argument == "stream_id_prefix"


@pytest.mark.parametrize("field", ["created_from", "created_to"])
@pytest.mark.parametrize("time", [datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC).date(), 0, "2020"], ids=repr)
def test_a_time_without_a_zone_is_refused(field: str, time: Any) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        Filter(**{field: time})
    assert refusal.value.argument == field


@pytest.mark.parametrize(
    ("stream_type", "prefix", "wanted"),
    [
        (None, None, (None, "")),
        (None, "order-1", (None, "order-1")),
        ("order", None, ("order", "order-")),
        ("order", "ord", ("order", "order-")),
        ("order", "order-1", (None, "order-1")),
        ("order", "other", (None, None)),
        ("order-1", None, (None, None)),
    ],
)
def test_a_type_is_an_id_of_its_own_and_a_prefix(
    stream_type: str | None, prefix: str | None, wanted: WantedIds
) -> None:
    assert wanted_ids(stream_type, prefix) == wanted


@pytest.mark.parametrize(
    ("stream_type", "prefix"), [*product([None, "", "or", "order", "orderly", "order-1"], [None, *IDS, "order-123"])]
)
def test_the_wanted_ids_are_those_of_the_type_that_have_the_prefix(stream_type: str | None, prefix: str | None) -> None:
    alone, begins = wanted_ids(stream_type, prefix)
    found = [i for i in IDS if i == alone] + [i for i in IDS if begins is not None and i.startswith(begins)]
    assert found == [i for i in IDS if stream_type in (None, stream_type_of(i)) and i.startswith(prefix or "")]

"""Which streams a listing asks for."""

from itertools import product

import pytest

from eventstore.events import stream_type_of
from eventstore.filters import WantedIds, wanted_ids

IDS = ["order", "order-", "order-1", "order-12", "order.1", "orderly", "orderly-1", "or", "-", "-1", "other-1"]


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

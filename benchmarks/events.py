"""The events of the benchmarks: 300 bytes of JSON, as an order might be."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from eventstore import NewEvent

DATA: Final[dict[str, Any]] = {
    "order": "0190b2f4-7d1e-7cc3-98c4-dc0c0c07398f",
    "customer": {"name": "Ada Lovelace", "city": "London", "vip": True},
    "items": [
        {"sku": "ENG-0001", "quantity": 2, "price": "129.90"},
        {"sku": "PUN-0042", "quantity": 1000, "price": "0.05"},
    ],
    "total": "309.80",
    "currency": "GBP",
    "note": "leave it with the neighbour at no. 12",
}
TEXT: Final = msgspec.json.encode(DATA)
assert len(TEXT) == 300, len(TEXT)


def an_event(event_type: str = "OrderPlaced") -> NewEvent:
    """Return a new event with that payload."""
    return NewEvent(event_type, DATA)

"""A web service over an event store: it appends events, and reads them.

    pip install 'eventstore-kit[sqlite]' fastapi uvicorn
    STORE=sqlite:///orders.db uvicorn --app-dir examples fastapi_orders:app

    curl -X POST localhost:8000/orders/42 -H 'content-type: application/json' -d '{"customer": "Ada"}'
    curl -X POST localhost:8000/orders/42/items -H 'content-type: application/json' -d '{"sku": "tea", "quantity": 2}'
    curl localhost:8000/orders/42
    curl -N 'localhost:8000/events?after=0'

One store is opened for the life of the process. An order is a stream. Whoever changes it says which version they have
seen, by the header If-Match: of two who change it at the same time one is told to look again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, PositiveInt

import eventstore
from eventstore import (
    NO_STREAM,
    STREAM_EXISTS,
    EventStore,
    ExpectedVersion,
    Filter,
    NewEvent,
    StoreUnavailable,
    WrongExpectedVersion,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the store when the process starts, and close it when it ends."""
    async with eventstore.open_store(os.environ.get("STORE", "memory://")) as store:
        app.state.store = store
        yield


app = FastAPI(title="Orders", lifespan=lifespan)


def the_store(request: Request) -> EventStore:
    """Return the store of the process."""
    store: EventStore = request.app.state.store
    return store


Store = Annotated[EventStore, Depends(the_store)]
IfMatch = Annotated[int | None, Header()]


class NewOrder(BaseModel):
    """What an order begins with."""

    customer: str


class NewItem(BaseModel):
    """What is added to an order."""

    sku: str
    quantity: PositiveInt = 1


@app.exception_handler(WrongExpectedVersion)
async def changed_meanwhile(_: Request, error: WrongExpectedVersion) -> JSONResponse:
    """Tell the caller to look again."""
    return JSONResponse({"detail": str(error), "version": error.actual}, status_code=409)


@app.exception_handler(StoreUnavailable)
async def out_of_reach(_: Request, error: StoreUnavailable) -> JSONResponse:
    """Tell the caller to come again."""
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "1"})


@app.post("/orders/{number}", status_code=201)
async def place(number: int, order: NewOrder, store: Store) -> dict[str, int]:
    """Place an order; a number is given once."""
    return await record(store, number, NewEvent("OrderPlaced", {"customer": order.customer}), NO_STREAM)


@app.post("/orders/{number}/items", status_code=201)
async def add_item(number: int, item: NewItem, store: Store, if_match: IfMatch = None) -> dict[str, int]:
    """Add an item, if the order is at the version that the caller has seen."""
    event = NewEvent("ItemAdded", {"sku": item.sku, "quantity": item.quantity})
    return await record(store, number, event, STREAM_EXISTS if if_match is None else if_match)


async def record(store: EventStore, number: int, event: NewEvent, expected_version: ExpectedVersion) -> dict[str, int]:
    """Append an event to an order."""
    (recorded,) = await store.append(f"order-{number}", [event], expected_version=expected_version)
    return {"version": recorded.version, "position": recorded.global_position}


@app.get("/orders/{number}")
async def show(number: int, store: Store, response: Response) -> dict[str, Any]:
    """Show an order as its events make it."""
    order: dict[str, Any] = {}
    async for event in store.read_stream(f"order-{number}"):
        response.headers["ETag"] = str(event.version)
        if event.event_type == "OrderPlaced":
            order = {"customer": event.data["customer"], "items": {}}
        elif event.event_type == "ItemAdded":
            sku, quantity = event.data["sku"], event.data["quantity"]
            order["items"][sku] = order["items"].get(sku, 0) + quantity
    if not order:
        raise HTTPException(404, f"there is no order {number}")
    return order


@app.get("/events")
async def follow(store: Store, after: int = 0, limit: int | None = None) -> StreamingResponse:
    """Send what happened to orders, and what happens, a line of JSON for each event; for ever unless limited."""

    async def lines() -> AsyncIterator[bytes]:
        sent = 0
        async for event in store.subscribe(after=after, filter=Filter(stream_types=["order"])):
            yield msgspec.json.encode(event) + b"\n"
            sent += 1
            if sent == limit:
                return

    return StreamingResponse(lines(), media_type="application/jsonl")

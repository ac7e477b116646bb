"""Keep a table of what each customer has ordered, exactly once, with any number of workers.

    pip install 'eventstore-kit[postgres]'
    export STORE='postgresql://user@host/database?schema=shop'
    python examples/order_totals.py work &             # as many as you like; kill them as you like
    python examples/order_totals.py work &
    python examples/order_totals.py produce 50000
    python examples/order_totals.py check

The handler takes `tx`, so its SQL commits in the transaction in which the consumer's position moves: whatever happens
to a worker, an event has changed the table once. Each customer is a stream, so each has one partition, and two workers
never touch the same row.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
from collections import Counter
from contextlib import suppress
from typing import Final

import eventstore
from eventstore import ANY, Consumer, EventStore, Filter, NewEvent, RecordedEvent, StoreTransaction, StreamWrite

PARTITIONS: Final = 4
CUSTOMERS: Final = 100

CREATE: Final = """
    CREATE TABLE IF NOT EXISTS order_totals (
        customer TEXT PRIMARY KEY,
        orders   BIGINT NOT NULL,
        cents    BIGINT NOT NULL
    )
"""
ADD: Final = """
    INSERT INTO order_totals AS known (customer, orders, cents)
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[])
    ON CONFLICT (customer) DO UPDATE SET
        orders = known.orders + EXCLUDED.orders,
        cents = known.cents + EXCLUDED.cents
"""
TOTALS: Final = "SELECT customer, orders, cents FROM order_totals"


async def project(events: list[RecordedEvent], tx: StoreTransaction) -> None:
    """Add a batch of orders to the table."""
    orders, cents = Counter[str](), Counter[str]()
    for event in events:
        orders[event.stream_id] += 1
        cents[event.stream_id] += event.data["cents"]
    customers = sorted(orders)
    await tx.connection.execute(ADD, [customers, [orders[c] for c in customers], [cents[c] for c in customers]])


def consumer(store: EventStore, lease: float) -> Consumer:
    """Return the consumer that keeps the table."""
    of_customers = Filter(stream_types=["customer"])
    return store.consumer("order totals", project, filter=of_customers, partitions=PARTITIONS, lease=lease)


async def work(store: EventStore, lease: float) -> None:
    """Keep the table until told to stop, by Ctrl-C or SIGTERM."""
    worker = consumer(store, lease)
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows Ctrl-C cancels, which is as good
            loop.add_signal_handler(ending, lambda: asyncio.ensure_future(worker.stop()))
    async with store.transaction() as tx:
        await tx.connection.execute("SELECT pg_advisory_xact_lock(hashtext('order_totals'))")
        await tx.connection.execute(CREATE)
    await worker.run()


async def produce(store: EventStore, count: int) -> None:
    """Append orders of random customers, fifty at a time and several of those at once."""
    sizes = iter([min(50, count - done) for done in range(0, count, 50)])

    async def append() -> None:
        for size in sizes:
            customers = Counter(f"customer-{random.randrange(CUSTOMERS)}" for _ in range(size))  # noqa: S311
            await store.append_many(
                [StreamWrite(customer, some_orders(number), ANY) for customer, number in customers.items()]
            )

    await asyncio.gather(*(append() for _ in range(4)))
    sys.stdout.write(f"{count:,} orders appended\n")


def some_orders(number: int) -> list[NewEvent]:
    """Return new orders."""
    return [NewEvent("Ordered", {"cents": random.randrange(1, 10_000)}) for _ in range(number)]  # noqa: S311


async def check(store: EventStore, lease: float) -> bool:
    """Wait until the table is up to date; compare it with the log, order by order."""
    await consumer(store, lease).wait_until(await store.head())
    orders, cents = Counter[str](), Counter[str]()
    async for event in store.read_all(filter=Filter(stream_types=["customer"])):
        orders[event.stream_id] += 1
        cents[event.stream_id] += event.data["cents"]
    async with store.transaction() as tx:
        rows = await (await tx.connection.execute(TOTALS)).fetchall()
    expected = sorted((customer, orders[customer], cents[customer]) for customer in orders)
    is_equal = sorted(rows) == expected
    sys.stdout.write(
        f"{sum(orders.values()):,} orders of {len(orders)} customers, {sum(cents.values()):,} cents in the log; "
        f"{sum(row[1] for row in rows):,} orders, {sum(row[2] for row in rows):,} cents in the table: "
        f"{'equal' if is_equal else 'NOT EQUAL'}\n"
    )
    return is_equal


async def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description="Keep a table of what each customer has ordered, exactly once.")
    parser.add_argument("command", choices=["work", "produce", "check"])
    parser.add_argument("count", nargs="?", type=int, default=1_000, help="how many orders to produce")
    parser.add_argument("--store", default=os.environ.get("STORE"), help="a postgresql:// URL; by default $STORE")
    parser.add_argument("--lease", type=float, default=5.0, help="seconds after which a dead worker is replaced")
    arguments = parser.parse_args()
    if arguments.store is None:
        parser.error("say which store: --store postgresql://user@host/database")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    async with eventstore.open_store(arguments.store) as store:
        match arguments.command:
            case "work":
                await work(store, arguments.lease)
            case "produce":
                await produce(store, arguments.count)
            case _:
                return 0 if await check(store, arguments.lease) else 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

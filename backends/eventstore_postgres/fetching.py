"""Running our statements on a connection, whatever its owner has set on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import tuple_row


async def fetch(
    connection: AsyncConnection[Any], query: bytes, parameters: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement as tuples.

    The caller of `bind` may want other rows or cursors; and times in text depend on the session's DateStyle.
    """
    async with AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(query, parameters, binary=True)
        return await cursor.fetchall()


async def fetch_in_index_order(
    connection: AsyncConnection, query: bytes, parameters: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that has an index with them in order.

    Of a table that was not analysed yet, the planner expects so few rows that it would rather collect and sort all that
    match, for every page again. And of a plan made for any type it expects that every other event matches, so that it
    would rather walk through all: each type gets a plan of its own.
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL enable_sort = off; SET LOCAL plan_cache_mode = force_custom_plan")
        return await fetch(connection, query, parameters)

-- Store events as another store recorded them, all or none; return their positions.
--
--   :streams     [[stream_id, version, created_at], …]: the first event of each stream, which must follow what is stored
--   :events      [[event_id, stream_id, stream_type, version, event_type, data, metadata, created_at], …]: data and
--                metadata are strings of JSON text, which are stored as they are
--
-- Within the list the versions of a stream have no gap, its times do not go back, and no event id occurs twice. SQLite
-- takes the write lock before the statement reads anything: what is checked here still holds when the rows are inserted.
WITH
    target AS MATERIALIZED (
        SELECT
            item.value ->> 0 AS stream_id,
            item.value ->> 1 AS version,
            item.value ->> 2 AS created_at
        FROM json_each(:streams) AS item
    ),

    arrival AS MATERIALIZED (
        SELECT
            item.key AS number,
            item.value ->> 0 AS event_id,
            item.value ->> 1 AS stream_id,
            item.value ->> 2 AS stream_type,
            item.value ->> 3 AS version,
            item.value ->> 4 AS event_type,
            item.value ->> 5 AS data,
            item.value ->> 6 AS metadata,
            item.value ->> 7 AS created_at
        FROM json_each(:events) AS item
    ),

    refused AS MATERIALIZED (
        SELECT 1
        FROM target
        LEFT JOIN events AS last
            ON last.stream_id = target.stream_id
            AND last.version = (SELECT max(version) FROM events WHERE stream_id = target.stream_id)
        LEFT JOIN stream_lifecycle AS lifecycle
            ON lifecycle.stream_id = target.stream_id
        WHERE
            coalesce(lifecycle.deleted, 0)
            OR target.version <> 1 + max(coalesce(last.version, 0), coalesce(lifecycle.version, 0))
            -- Where there is no time to compare with, neither holds.
            OR target.created_at < last.created_at
            OR target.created_at < lifecycle.last_created_at

        UNION ALL

        SELECT 1
        FROM arrival
        WHERE EXISTS (SELECT 1 FROM events WHERE events.event_id = arrival.event_id)
    )

INSERT INTO events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
SELECT event_id, stream_id, stream_type, version, event_type, data, metadata, created_at
FROM arrival
WHERE NOT EXISTS (SELECT 1 FROM refused)
-- Positions are drawn in this order.
ORDER BY number
-- In no promised order. https://sqlite.org/lang_returning.html
RETURNING global_position

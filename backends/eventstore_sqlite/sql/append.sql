-- Store transactions, each wholly or not at all; return where the events went.
--
--   :writes      [[transaction, stream_id, stream_type, lowest, highest], …]: what each stream's version must lie between
--   :events      [[write, nth, event_id, event_type, data, metadata], …]: `write` counts in :writes, `nth` is 1, 2, …
--                in its stream; data and metadata are strings of JSON text, which are stored as they are
--   :now         microseconds
--
-- No stream and no event id occurs twice, so the transactions cannot disturb each other and share one statement. SQLite
-- takes the write lock before the statement reads anything: what is checked here still holds when the rows are inserted.
WITH
    target AS MATERIALIZED (
        SELECT
            item.key AS number,
            item.value ->> 0 AS transaction_number,
            item.value ->> 1 AS stream_id,
            item.value ->> 2 AS stream_type,
            item.value ->> 3 AS lowest,
            item.value ->> 4 AS highest
        FROM json_each(:writes) AS item
    ),

    -- The head of each stream: one step down the unique index, and the lifecycle row where there is one.
    head AS MATERIALIZED (
        SELECT
            target.number,
            max(coalesce(last.version, 0), coalesce(lifecycle.version, 0)) AS version,
            max(coalesce(last.created_at, 0), coalesce(lifecycle.last_created_at, 0)) AS created_at,
            coalesce(lifecycle.deleted, 0) AS deleted
        FROM target
        LEFT JOIN events AS last
            ON last.stream_id = target.stream_id
            AND last.version = (SELECT max(version) FROM events WHERE stream_id = target.stream_id)
        LEFT JOIN stream_lifecycle AS lifecycle
            ON lifecycle.stream_id = target.stream_id
    ),

    arrival AS MATERIALIZED (
        SELECT
            item.key AS number,
            item.value ->> 0 AS target_number,
            item.value ->> 1 AS nth,
            item.value ->> 2 AS event_id,
            item.value ->> 3 AS event_type,
            item.value ->> 4 AS data,
            item.value ->> 5 AS metadata
        FROM json_each(:events) AS item
    ),

    refused AS MATERIALIZED (
        SELECT target.transaction_number
        FROM target
        JOIN head USING (number)
        WHERE head.deleted OR head.version NOT BETWEEN target.lowest AND target.highest
        UNION
        SELECT target.transaction_number
        FROM arrival
        JOIN target ON target.number = arrival.target_number
        WHERE EXISTS (SELECT 1 FROM events WHERE events.event_id = arrival.event_id)
    )

INSERT INTO events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
SELECT
    arrival.event_id,
    target.stream_id,
    target.stream_type,
    head.version + arrival.nth,
    arrival.event_type,
    arrival.data,
    arrival.metadata,
    max(:now, head.created_at)
FROM arrival
JOIN target ON target.number = arrival.target_number
JOIN head ON head.number = arrival.target_number
WHERE target.transaction_number NOT IN (SELECT transaction_number FROM refused)
-- Positions are drawn in this order.
ORDER BY arrival.number
-- In no promised order. https://sqlite.org/lang_returning.html
RETURNING stream_id, version, global_position, created_at

-- A page of the log, and the head of the log at the same instant: the row without an event_id says that. Everything up to
-- the head is settled: SQLite has one writer, so transactions commit in the order of the positions that they draw.
--
--   :first, :last    positions, both inclusive
--   :limit
-- and put in before the query is run:
--   order            ASC or DESC
--   conditions       those of the filter, each with its AND
SELECT
    NULL AS stream_id,
    NULL AS stream_type,
    NULL AS version,
    NULL AS global_position,
    NULL AS event_id,
    NULL AS event_type,
    NULL AS data,
    NULL AS metadata,
    NULL AS created_at,
    (SELECT seq FROM sqlite_sequence WHERE name = 'events') AS fact

UNION ALL

SELECT * FROM (
    SELECT
        stream_id,
        stream_type,
        version,
        global_position,
        event_id,
        event_type,
        data,
        metadata,
        created_at,
        NULL
    FROM events
    WHERE
        global_position BETWEEN :first AND :last
        {conditions}
    ORDER BY global_position {order}
    LIMIT :limit
)

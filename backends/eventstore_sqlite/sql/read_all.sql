-- A page of the log, and the head of the log at the same instant: the row without an event_id says that. Everything up to
-- the head is settled: SQLite has one writer, so transactions commit in the order of the positions that they draw.
--
--   :first, :last    positions, both inclusive
--   :limit
-- and put in before the query is run:
--   order            ASC or DESC
--   conditions       those of the filter, each with its AND
SELECT
    {no_event},
    (SELECT seq FROM sqlite_sequence WHERE name = 'events') AS fact

UNION ALL

SELECT * FROM (
    SELECT
        {event_columns},
        NULL
    FROM events
    WHERE
        global_position BETWEEN :first AND :last
        {conditions}
    ORDER BY global_position {order}
    LIMIT :limit
)

-- A page of a stream, and whether it is deleted, at one instant: the row without an event_id says that.
--
--   :stream_id, :first, :last    versions, both inclusive
--   :limit
--   order                        ASC or DESC, put in before the query is run
SELECT
    {no_event},
    EXISTS (SELECT 1 FROM stream_lifecycle WHERE stream_id = :stream_id AND deleted) AS fact

UNION ALL

SELECT * FROM (
    SELECT
        {event_columns},
        NULL
    FROM events
    WHERE
        stream_id = :stream_id
        AND version BETWEEN :first AND :last
    ORDER BY version {order}
    LIMIT :limit
)

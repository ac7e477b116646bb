-- A page of a stream, and whether it is deleted, at one instant: the row without an event_id says that.
--
--   :stream_id, :first, :last    versions, both inclusive
--   :limit
--   order                        ASC or DESC, put in before the query is run
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
    EXISTS (SELECT 1 FROM stream_lifecycle WHERE stream_id = :stream_id AND deleted) AS fact

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
        stream_id = :stream_id
        AND version BETWEEN :first AND :last
    ORDER BY version {order}
    LIMIT :limit
)

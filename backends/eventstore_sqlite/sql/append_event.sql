-- Store one event, or nothing; return where it went: the commonest append, with nothing in its statement that it does not
-- need. SQLite takes the write lock before the statement reads anything.
--
--   :event_id, :stream_id, :stream_type, :event_type, :data, :metadata
--   :lowest, :highest    what the stream's version must lie between
--   :now                 microseconds
INSERT INTO events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
SELECT
    :event_id,
    :stream_id,
    :stream_type,
    head.version + 1,
    :event_type,
    :data,
    :metadata,
    max(:now, head.created_at)
FROM (
    SELECT
        max(coalesce(last.version, 0), coalesce(lifecycle.version, 0)) AS version,
        max(coalesce(last.created_at, 0), coalesce(lifecycle.last_created_at, 0)) AS created_at
    FROM (SELECT 1)
    LEFT JOIN events AS last
        ON last.stream_id = :stream_id
        AND last.version = (SELECT max(version) FROM events WHERE stream_id = :stream_id)
    LEFT JOIN stream_lifecycle AS lifecycle
        ON lifecycle.stream_id = :stream_id
    WHERE coalesce(lifecycle.deleted, 0) = 0
) AS head
WHERE
    head.version BETWEEN :lowest AND :highest
    AND NOT EXISTS (SELECT 1 FROM events WHERE event_id = :event_id)
RETURNING stream_id, version, global_position, created_at

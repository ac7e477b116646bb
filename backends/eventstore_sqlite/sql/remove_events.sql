DELETE FROM events
WHERE
    stream_id = :stream_id
    AND version < :before_version

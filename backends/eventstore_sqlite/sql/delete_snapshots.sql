DELETE FROM snapshots
WHERE stream_id = :stream_id

SELECT version, data, created_at
FROM snapshots
WHERE stream_id = :stream_id

SELECT stream_id, version, data
FROM snapshots
WHERE stream_id > :after
ORDER BY stream_id
LIMIT :limit

-- Where events stand, by the unique index on (stream_id, version), as the reads of a stream find them.
--
--   :after, :after_version    the last place seen
--   :limit
SELECT stream_id, version, global_position, created_at
FROM events
WHERE (stream_id, version) > (:after, :after_version)
ORDER BY stream_id, version
LIMIT :limit

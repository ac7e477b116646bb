-- Keep what a stream's events tell of it, before they are removed or a tombstone covers them. Where there are none, their
-- time is the lowest of all integers, which any event may follow.
--
--   :stream_id, :version, :deleted
INSERT INTO stream_lifecycle (stream_id, version, last_created_at, deleted)
SELECT
    :stream_id,
    :version,
    coalesce(
        (SELECT created_at FROM events WHERE stream_id = :stream_id ORDER BY version DESC LIMIT 1),
        -9223372036854775808
    ),
    :deleted
WHERE true -- tells ON CONFLICT from a join: https://sqlite.org/lang_upsert.html#parsing_ambiguity
ON CONFLICT (stream_id) DO UPDATE SET
    version = excluded.version,
    last_created_at = max(last_created_at, excluded.last_created_at),
    deleted = excluded.deleted

-- Keep the snapshot, unless a later one is there.
INSERT INTO snapshots (stream_id, version, data, created_at)
VALUES (:stream_id, :version, :data, :now)
ON CONFLICT (stream_id) DO UPDATE SET
    version = excluded.version,
    data = excluded.data,
    created_at = excluded.created_at
WHERE snapshots.version <= excluded.version

-- Keep an entry whose version is the one expected (0: there is none); return a row if it was kept.
INSERT INTO consumer_entries (name, key, version, data)
SELECT :name, :key, :expected + 1, :data
WHERE coalesce((SELECT version FROM consumer_entries WHERE name = :name AND key = :key), 0) = :expected
ON CONFLICT (name, key) DO UPDATE SET version = excluded.version, data = excluded.data
RETURNING version

-- Return a row if it was removed.
DELETE FROM consumer_entries
WHERE name = :name AND key = :key AND version = :expected
RETURNING version

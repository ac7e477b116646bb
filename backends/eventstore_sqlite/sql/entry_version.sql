SELECT version
FROM consumer_entries
WHERE name = :name AND key = :key

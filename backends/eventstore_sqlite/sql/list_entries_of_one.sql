SELECT name, key, version, data
FROM consumer_entries
WHERE name = :name
    AND key >= :prefix
    AND substr(key, 1, length(:prefix)) = :prefix
    AND (name, key) > (:after_name, :after_key)
ORDER BY key
LIMIT :limit

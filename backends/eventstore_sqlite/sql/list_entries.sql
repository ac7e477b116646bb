SELECT name, key, version, data
FROM consumer_entries
WHERE substr(key, 1, length(:prefix)) = :prefix
    AND (name, key) > (:after_name, :after_key)
ORDER BY name, key
LIMIT :limit

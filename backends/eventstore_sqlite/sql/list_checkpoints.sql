SELECT name, position
FROM subscription_checkpoints
WHERE name > :after
ORDER BY name
LIMIT :limit

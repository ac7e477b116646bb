SELECT position
FROM subscription_checkpoints
WHERE name = :name

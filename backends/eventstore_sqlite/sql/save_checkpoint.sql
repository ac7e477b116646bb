-- Move a checkpoint, if it is where it is expected (0: none yet); return a row if it was moved.
INSERT INTO subscription_checkpoints (name, position)
SELECT :name, :position
WHERE coalesce((SELECT position FROM subscription_checkpoints WHERE name = :name), 0) = :expected
ON CONFLICT (name) DO UPDATE SET position = excluded.position
RETURNING position

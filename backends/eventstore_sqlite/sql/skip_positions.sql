-- Never again use the positions up to :head, which a transaction drew that was rolled back.
UPDATE sqlite_sequence
SET seq = max(seq, :head)
WHERE name = 'events'

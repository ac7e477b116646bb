-- The last position that was ever given out, kept when its event is erased: https://sqlite.org/autoinc.html
SELECT seq
FROM sqlite_sequence
WHERE name = 'events'

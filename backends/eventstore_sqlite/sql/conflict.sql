-- Why transactions were refused, read at one instant: the state of each of their streams, and the stored events that have
-- one of their ids. A state has no event_id; an event has no `deleted`.
--
--   :stream_ids, :event_ids      lists
SELECT
    wanted.value AS stream_id,
    NULL AS stream_type,
    max(
        coalesce((SELECT max(version) FROM events WHERE stream_id = wanted.value), 0),
        coalesce(lifecycle.version, 0)
    ) AS version,
    NULL AS global_position,
    NULL AS event_id,
    NULL AS event_type,
    NULL AS data,
    NULL AS metadata,
    NULL AS created_at,
    coalesce(lifecycle.deleted, 0) AS deleted
FROM json_each(:stream_ids) AS wanted
LEFT JOIN stream_lifecycle AS lifecycle ON lifecycle.stream_id = wanted.value

UNION ALL

SELECT
    {event_columns},
    NULL
FROM events
WHERE event_id IN (SELECT value FROM json_each(:event_ids))

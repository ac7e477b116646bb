-- What the queries of the same names are where `events` is partitioned: event_keys says which positions to look up, so
-- that each is looked up in its own partition. OFFSET 0 keeps the planner from joining the tables as a whole.

-- name: keys
{schema}.event_keys AS events

-- name: event_of_key
LATERAL (SELECT * FROM {schema}.events WHERE events.global_position = keys.global_position OFFSET 0) AS events

-- name: conflict
-- An id is taken even if its event was detached with its partition: nothing is known of that but its key.
SELECT
    heads.number,
    heads.version,
    heads.deleted,
    keys.stream_id,
    split_part(keys.stream_id, '-', 1),
    keys.version,
    keys.global_position,
    uuid_send(keys.event_id),
    COALESCE(events.event_type, ''),
    COALESCE(events.data::text, 'null'),
    COALESCE(events.metadata::text, 'null'),
    timestamptz_send(keys.created_at)
FROM ({heads}) AS heads
LEFT JOIN (
    {schema}.event_keys AS keys
    LEFT JOIN {event_of_key} ON true
) ON heads.number = 1 AND keys.event_id = ANY (%(event_ids)s::uuid[])
ORDER BY heads.number

-- name: read_stream_forward
SELECT {event_columns}
FROM {schema}.event_keys AS keys
CROSS JOIN {event_of_key}
WHERE keys.stream_id = %(stream_id)s AND keys.version >= %(start)s AND events.event_type <> ''
    AND NOT EXISTS (SELECT FROM {schema}.stream_lifecycle WHERE stream_id = %(stream_id)s AND deleted)
ORDER BY keys.version
LIMIT %(limit)s

-- name: read_stream_backward
SELECT {event_columns}
FROM {schema}.event_keys AS keys
CROSS JOIN {event_of_key}
WHERE keys.stream_id = %(stream_id)s AND keys.version <= %(start)s AND events.event_type <> ''
    AND NOT EXISTS (SELECT FROM {schema}.stream_lifecycle WHERE stream_id = %(stream_id)s AND deleted)
ORDER BY keys.version DESC
LIMIT %(limit)s

-- name: remove_events
-- An array of positions alone would be looked for in every partition.
WITH doomed AS MATERIALIZED (
    SELECT global_position FROM {schema}.event_keys
    WHERE stream_id = %(stream_id)s AND version < %(before_version)s
), removed AS (
    DELETE FROM {schema}.events
    WHERE global_position = ANY (ARRAY(SELECT global_position FROM doomed))
        AND global_position >= (SELECT min(global_position) FROM doomed)
        AND global_position <= (SELECT max(global_position) FROM doomed)
        AND event_type <> ''
    RETURNING global_position
)
SELECT count(*), COALESCE(max(global_position), 0) FROM removed

-- name: list_places
-- What the keys say, so that `verify` holds them against the log. The guard of a deleted stream has a key, too.
SELECT keys.stream_id, keys.version, keys.global_position, timestamptz_send(keys.created_at)
FROM {schema}.event_keys AS keys
WHERE (keys.stream_id, keys.version) > (%(after)s, %(after_version)s)
    AND NOT EXISTS (
        SELECT
        FROM {schema}.stream_lifecycle AS lifecycle
        WHERE lifecycle.stream_id = keys.stream_id AND lifecycle.deleted AND lifecycle.version < keys.version
    )
ORDER BY keys.stream_id, keys.version
LIMIT %(limit)s

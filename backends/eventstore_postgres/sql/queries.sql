-- name: keys
-- Where the ids and versions of all events stand: a fragment of other queries. In a partitioned store, and in this file
-- where that differs, partitioned_queries.sql says otherwise.
{schema}.events

-- name: head
-- The state of the stream beside it: a fragment of other queries.
-- The last event is found by the unique index, whatever the stream's length. A deleted stream's version is the one kept
-- in its lifecycle row, for its guard stands one above.
SELECT
    CASE
        WHEN lifecycle.deleted THEN lifecycle.version
        ELSE GREATEST(last_event.version, lifecycle.version, 0)
    END AS version,
    COALESCE(lifecycle.deleted, false) AS deleted,
    GREATEST(last_event.created_at, lifecycle.created_at) AS created_at
FROM (VALUES (1)) AS always
LEFT JOIN LATERAL (
    SELECT events.version, events.created_at
    FROM {keys}
    WHERE events.stream_id = stream.stream_id
    ORDER BY events.version DESC
    LIMIT 1
) AS last_event ON true
LEFT JOIN {schema}.stream_lifecycle AS lifecycle ON lifecycle.stream_id = stream.stream_id

-- name: heads
-- The state of each stream in a list: a fragment, too.
SELECT stream.number, stream.stream_id, head.version, head.deleted, head.created_at
FROM unnest(%(stream_ids)s::text[]) WITH ORDINALITY AS stream (stream_id, number)
CROSS JOIN LATERAL ({head}) AS head

-- name: append_event
-- One event in one round trip: the commonest append, with nothing in its statement that it does not need. The unique
-- indexes decide what the snapshot cannot see, a racing writer or an id that is stored; and a function what they cannot
-- see, events that were removed meanwhile.
INSERT INTO {schema}.events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
SELECT
    %(event_id)s,
    %(stream_id)s,
    split_part(%(stream_id)s, '-', 1),
    head.version + 1,
    %(event_type)s,
    %(data)s::jsonb,
    %(metadata)s::jsonb,
    GREATEST(statement_timestamp(), head.created_at)
FROM (VALUES (%(stream_id)s)) AS stream (stream_id)
CROSS JOIN LATERAL ({head}) AS head
WHERE NOT head.deleted AND head.version BETWEEN %(lowest)s AND %(highest)s
RETURNING
    stream_id,
    version,
    global_position,
    timestamptz_send(created_at),
    {schema}.refuse_overtaken_event(stream_id, version)

-- name: append_streams
-- Transactions of one stream each, in one round trip; no stream and no event id occurs twice. Those whose stream does
-- not meet its expectation are left out. An id that is stored fails the statement: whoever is in company then goes by
-- the next one, which looks before. What the snapshot cannot see is decided as above.
--
-- `lock_timeout` bounds how long this statement waits for other writers of the same streams; NULL leaves it as it is.
-- `offsets` count the events before those of each stream.
WITH heads AS (
    SELECT stream.number, stream.stream_id, head.version - stream.before AS version, head.created_at
    FROM (
        SELECT set_config('lock_timeout', COALESCE(%(lock_timeout)s, current_setting('lock_timeout')), true) AS is_set
    ) AS patience
    JOIN unnest(%(stream_ids)s::text[], %(lowest)s::bigint[], %(highest)s::bigint[], %(offsets)s::bigint[])
        WITH ORDINALITY AS stream (stream_id, lowest, highest, before, number) ON patience.is_set IS NOT NULL
    CROSS JOIN LATERAL ({head}) AS head
    WHERE NOT head.deleted AND head.version BETWEEN stream.lowest AND stream.highest
), inserted AS (
    INSERT INTO {schema}.events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
    SELECT
        event.event_id,
        heads.stream_id,
        split_part(heads.stream_id, '-', 1),
        heads.version + event.place,
        event.event_type,
        event.data::jsonb,
        event.metadata::jsonb,
        GREATEST(statement_timestamp(), heads.created_at)
    FROM unnest(
        %(numbers)s::bigint[],
        %(event_ids)s::uuid[],
        %(event_types)s::text[],
        %(data)s::text[],
        %(metadata)s::text[]
    ) WITH ORDINALITY AS event (number, event_id, event_type, data, metadata, place)
    JOIN heads USING (number)
    -- In one order for all writers: two that write to the same streams wait for each other in turn, never in a circle.
    -- Positions are drawn in this order, too.
    ORDER BY heads.stream_id, event.place
    RETURNING stream_id, version, global_position, timestamptz_send(created_at)
), checked AS MATERIALIZED (
    SELECT {schema}.refuse_overtaken_events(array_agg(stream_id), array_agg(version))
    FROM (SELECT stream_id, min(version) AS version FROM inserted GROUP BY stream_id) AS first
)
SELECT inserted.* FROM checked, inserted

-- name: append
-- Transactions that share neither a stream nor an event id, in one round trip: of each, every stream meets its
-- expectation, no event id is stored, and all events are inserted; or none is. What the snapshot cannot see is decided as
-- above.
WITH heads AS MATERIALIZED (
    {heads}
), targets AS MATERIALIZED (
    SELECT
        heads.number,
        range.transaction_number,
        heads.stream_id,
        heads.version,
        heads.created_at,
        heads.deleted OR heads.version NOT BETWEEN range.lowest AND range.highest AS is_refused
    FROM (
        SELECT set_config('lock_timeout', COALESCE(%(lock_timeout)s, current_setting('lock_timeout')), true) AS is_set
    ) AS patience
    JOIN unnest(%(transaction_numbers)s::bigint[], %(lowest)s::bigint[], %(highest)s::bigint[])
        WITH ORDINALITY AS range (transaction_number, lowest, highest, number) ON patience.is_set IS NOT NULL
    JOIN heads USING (number)
), arrivals AS MATERIALIZED (
    SELECT
        event.*,
        targets.transaction_number,
        targets.stream_id,
        targets.version + event.place AS version,
        targets.created_at,
        -- A scalar, so that it is looked up by the index whatever the planner thinks of the table.
        targets.is_refused OR COALESCE(
            (SELECT true FROM {keys} WHERE events.event_id = event.event_id LIMIT 1), false
        ) AS is_refused
    FROM unnest(
        %(numbers)s::bigint[],
        %(places)s::bigint[],
        %(event_ids)s::uuid[],
        %(event_types)s::text[],
        %(data)s::text[],
        %(metadata)s::text[]
    ) AS event (number, place, event_id, event_type, data, metadata)
    JOIN targets USING (number)
    ORDER BY event.number, event.place
), placed AS MATERIALIZED (
    -- Positions are drawn in the order in which the events were given. The statement has its lock on the table by now.
    SELECT nextval({sequence}) AS global_position, arrivals.*
    FROM arrivals
    WHERE transaction_number NOT IN (SELECT transaction_number FROM arrivals WHERE is_refused)
), inserted AS (
    INSERT INTO {schema}.events
        (global_position, event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
    SELECT
        global_position,
        event_id,
        stream_id,
        split_part(stream_id, '-', 1),
        version,
        event_type,
        data::jsonb,
        metadata::jsonb,
        GREATEST(statement_timestamp(), created_at)
    FROM placed
    -- In one order for all writers: two that write to the same streams wait for each other in turn, never in a circle.
    ORDER BY stream_id, version
    RETURNING stream_id, version, global_position, timestamptz_send(created_at)
), checked AS MATERIALIZED (
    SELECT {schema}.refuse_overtaken_events(array_agg(stream_id), array_agg(version))
    FROM (SELECT stream_id, min(version) AS version FROM inserted GROUP BY stream_id) AS first
)
SELECT inserted.* FROM checked, inserted

-- name: restore
-- Events that another store recorded, in one round trip: all are inserted with the versions and times that they have
-- there, each stream's as the next ones, or none is. What the snapshot cannot see is decided as above.
WITH heads AS MATERIALIZED (
    {heads}
), refused AS MATERIALIZED (
    SELECT heads.number
    FROM heads
    JOIN unnest(%(first_versions)s::bigint[], %(first_times)s::timestamptz[])
        WITH ORDINALITY AS first (version, created_at, number) USING (number)
    WHERE heads.deleted OR heads.version <> first.version - 1 OR heads.created_at > first.created_at
), arrivals AS MATERIALIZED (
    SELECT event.*, heads.stream_id
    FROM unnest(
        %(numbers)s::bigint[],
        %(versions)s::bigint[],
        %(times)s::timestamptz[],
        %(event_ids)s::uuid[],
        %(event_types)s::text[],
        %(data)s::text[],
        %(metadata)s::text[]
    ) WITH ORDINALITY AS event (number, version, created_at, event_id, event_type, data, metadata, place)
    JOIN heads USING (number)
    WHERE NOT EXISTS (SELECT FROM refused)
    ORDER BY event.place
), placed AS MATERIALIZED (
    -- Positions are drawn in the order in which the events were given. The statement has its lock on the table by now.
    SELECT nextval({sequence}) AS global_position, arrivals.* FROM arrivals
), inserted AS (
    INSERT INTO {schema}.events
        (global_position, event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
    SELECT
        global_position,
        event_id,
        stream_id,
        split_part(stream_id, '-', 1),
        version,
        event_type,
        data::jsonb,
        metadata::jsonb,
        created_at
    FROM placed
    -- In one order for all writers: two that write to the same streams wait for each other in turn, never in a circle.
    ORDER BY stream_id, version
    RETURNING stream_id, version, global_position
), checked AS MATERIALIZED (
    SELECT {schema}.refuse_overtaken_events(array_agg(stream_id), array_agg(version))
    FROM (SELECT stream_id, min(version) AS version FROM inserted GROUP BY stream_id) AS first
)
SELECT inserted.global_position FROM checked, inserted ORDER BY inserted.global_position

-- name: conflict
-- Why nothing was stored, at one instant: each stream's state, and beside the first the events that have one of the
-- ids.
SELECT heads.number, heads.version, heads.deleted, {event_columns}
FROM ({heads}) AS heads
LEFT JOIN {schema}.events ON heads.number = 1 AND events.event_id = ANY (%(event_ids)s::uuid[])
ORDER BY heads.number

-- name: confirm
-- Writes, so that its commit waits for the standbys that commits are to wait for, and with it for all that was there
-- before. Events that are visible need not be on a standby: a commit that was cancelled, or whose server was restarted,
-- while it waited is visible on its server alone.
SELECT pg_logical_emit_message(TRUE, 'eventstore', '')

-- name: event_columns
-- Ids and times as bytes: psycopg makes those in C, and what it would make of the types themselves in Python, slowly.
events.stream_id,
events.stream_type,
events.version,
events.global_position,
uuid_send(events.event_id),
events.event_type,
events.data::text,
events.metadata::text,
timestamptz_send(events.created_at)

-- name: read_stream_forward
SELECT {event_columns}
FROM {schema}.events
WHERE stream_id = %(stream_id)s AND version >= %(start)s AND event_type <> ''
    AND NOT EXISTS (SELECT FROM {schema}.stream_lifecycle WHERE stream_id = %(stream_id)s AND deleted)
ORDER BY version
LIMIT %(limit)s

-- name: read_stream_backward
SELECT {event_columns}
FROM {schema}.events
WHERE stream_id = %(stream_id)s AND version <= %(start)s AND event_type <> ''
    AND NOT EXISTS (SELECT FROM {schema}.stream_lifecycle WHERE stream_id = %(stream_id)s AND deleted)
ORDER BY version DESC
LIMIT %(limit)s

-- name: read_all_forward
-- A filter's conditions, and then one of the two orders, are added to this and the next.
SELECT {event_columns}
FROM {schema}.events
WHERE global_position > %(start)s AND event_type <> ''

-- name: read_all_backward
SELECT {event_columns}
FROM {schema}.events
WHERE global_position < %(start)s AND event_type <> ''

-- name: oldest_first
ORDER BY global_position
LIMIT %(limit)s

-- name: newest_first
ORDER BY global_position DESC
LIMIT %(limit)s

-- name: stream_info
-- Everything about the streams in the list; those that never had an event nor a tombstone are left out.
SELECT heads.stream_id, heads.version, COALESCE(lifecycle.first_version, 1), heads.deleted
FROM ({heads}) AS heads
LEFT JOIN {schema}.stream_lifecycle AS lifecycle USING (stream_id)
WHERE heads.version > 0 OR lifecycle.stream_id IS NOT NULL
ORDER BY heads.number

-- name: stream_ids
-- The next stream ids after one, by leaps through the unique index: the cost is that of the ids, not of the events.
WITH RECURSIVE found (stream_id, number) AS (
    SELECT LEAST(
        (SELECT min(stream_id) FROM {keys} WHERE stream_id >= %(prefix)s AND stream_id > %(after)s),
        (SELECT min(stream_id) FROM {schema}.stream_lifecycle WHERE stream_id >= %(prefix)s AND stream_id > %(after)s)
    ), 1
    UNION ALL
    SELECT LEAST(
        (SELECT min(stream_id) FROM {keys} WHERE stream_id > found.stream_id),
        (SELECT min(stream_id) FROM {schema}.stream_lifecycle WHERE stream_id > found.stream_id)
    ), found.number + 1
    FROM found
    WHERE starts_with(found.stream_id, %(prefix)s) AND found.number < %(limit)s
)
SELECT stream_id FROM found WHERE starts_with(stream_id, %(prefix)s) ORDER BY number

-- name: lock_stream
-- Lifecycle calls and snapshots of one stream go one after another; appends take no part.
SELECT pg_advisory_xact_lock(hashtextextended(%(stream_id)s, %(seed)s))

-- name: allow_removal
SELECT set_config('eventstore.removal', %(allowed)s, true)

-- name: remove_events
WITH removed AS (
    DELETE FROM {schema}.events
    WHERE stream_id = %(stream_id)s AND version < %(before_version)s AND event_type <> ''
    RETURNING global_position
)
SELECT count(*), COALESCE(max(global_position), 0) FROM removed

-- name: save_lifecycle
INSERT INTO {schema}.stream_lifecycle AS known
    (stream_id, stream_type, deleted, version, first_version, created_at, last_position)
VALUES (
    %(stream_id)s,
    split_part(%(stream_id)s, '-', 1),
    %(deleted)s,
    %(version)s,
    %(first_version)s,
    %(created_at)s,
    %(last_position)s
)
ON CONFLICT (stream_id) DO UPDATE SET
    deleted = EXCLUDED.deleted,
    version = EXCLUDED.version,
    first_version = GREATEST(known.first_version, EXCLUDED.first_version),
    created_at = EXCLUDED.created_at,
    last_position = GREATEST(known.last_position, EXCLUDED.last_position)

-- name: guard_stream
-- Takes the version that an append in flight would take, so that the unique index decides which of the two was first.
INSERT INTO {schema}.events (event_id, stream_id, stream_type, version, event_type, data, metadata, created_at)
VALUES (
    gen_random_uuid(), %(stream_id)s, split_part(%(stream_id)s, '-', 1), %(version)s, '', 'null', 'null', now()
)
RETURNING global_position

-- name: remove_guard
-- An append that has met it waits for this transaction all the same, and looks once more then.
DELETE FROM {schema}.events WHERE global_position = %(position)s AND event_type = ''

-- name: load_snapshot
SELECT version, data::text, created_at FROM {schema}.snapshots WHERE stream_id = %(stream_id)s

-- name: save_snapshot
INSERT INTO {schema}.snapshots AS kept (stream_id, version, data, created_at)
VALUES (%(stream_id)s, %(version)s, %(data)s::jsonb, statement_timestamp())
ON CONFLICT (stream_id) DO UPDATE SET
    version = EXCLUDED.version,
    data = EXCLUDED.data,
    created_at = EXCLUDED.created_at
WHERE kept.version <= EXCLUDED.version

-- name: require_current_view
SELECT {schema}.require_current_view(%(stream_ids)s::text[])

-- name: delete_snapshots
DELETE FROM {schema}.snapshots WHERE stream_id = %(stream_id)s

-- name: load_checkpoint
SELECT position FROM {schema}.subscription_checkpoints WHERE name = %(name)s

-- name: save_checkpoint
-- Compare and set: the row's lock makes racing workers take turns, and the later one finds the position moved.
INSERT INTO {schema}.subscription_checkpoints AS known (name, position, updated_at)
SELECT %(name)s, %(position)s, statement_timestamp()
WHERE %(expected)s = 0
    OR EXISTS (SELECT FROM {schema}.subscription_checkpoints WHERE name = %(name)s)
ON CONFLICT (name) DO UPDATE SET
    position = EXCLUDED.position,
    updated_at = EXCLUDED.updated_at
WHERE known.position = %(expected)s
RETURNING position

-- name: list_entries
-- A condition on the name is added where it is wanted, and then the order.
SELECT name, key, version, data::text
FROM {schema}.consumer_entries
WHERE starts_with(key, %(prefix)s) AND (name, key) > (%(after_name)s, %(after_key)s)

-- name: entries_in_order
ORDER BY name, key
LIMIT %(limit)s

-- name: save_entry
-- Compare and set: the row's lock makes racing workers take turns, and the later one finds another version.
INSERT INTO {schema}.consumer_entries AS known (name, key, version, data, updated_at)
SELECT %(name)s, %(key)s, %(expected)s + 1, %(data)s::jsonb, statement_timestamp()
WHERE %(expected)s = 0
    OR EXISTS (SELECT FROM {schema}.consumer_entries WHERE name = %(name)s AND key = %(key)s)
ON CONFLICT (name, key) DO UPDATE SET
    version = EXCLUDED.version,
    data = EXCLUDED.data,
    updated_at = EXCLUDED.updated_at
WHERE known.version = %(expected)s
RETURNING version

-- name: remove_entry
DELETE FROM {schema}.consumer_entries
WHERE name = %(name)s AND key = %(key)s AND version = %(expected)s
RETURNING version

-- name: entry_version
SELECT version FROM {schema}.consumer_entries WHERE name = %(name)s AND key = %(key)s

-- name: list_places
-- By the unique index on (stream_id, version), as the reads of a stream find events.
SELECT stream_id, version, global_position, timestamptz_send(created_at)
FROM {schema}.events
WHERE (stream_id, version) > (%(after)s, %(after_version)s) AND event_type <> ''
ORDER BY stream_id, version
LIMIT %(limit)s

-- name: list_snapshots
SELECT stream_id, version, data::text
FROM {schema}.snapshots
WHERE stream_id > %(after)s
ORDER BY stream_id
LIMIT %(limit)s

-- name: list_checkpoints
SELECT name, position
FROM {schema}.subscription_checkpoints
WHERE name > %(after)s
ORDER BY name
LIMIT %(limit)s

-- name: top
-- The highest position that is visible, or was before its event was removed; which run of which server says so; and
-- whether that can tell at all.
SELECT
    GREATEST(
        (SELECT max(global_position) FROM {schema}.events),
        (SELECT max(last_position) FROM {schema}.stream_lifecycle),
        0
    ),
    pg_postmaster_start_time(),
    pg_is_in_recovery()

-- name: appenders
-- The transactions that may have drawn a position and not committed yet.
SELECT virtualtransaction
FROM pg_locks
WHERE locktype = 'relation'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation = to_regclass(%(table)s)
    AND mode = 'RowExclusiveLock'
    AND granted

-- name: run_end
-- The end of the run of positions that follows a position without a hole. The window reads the index up to the first
-- hole, no further.
SELECT COALESCE(
    (
        SELECT run.previous
        FROM (
            SELECT
                global_position,
                lag(global_position, 1, %(after)s::bigint) OVER (ORDER BY global_position) AS previous
            FROM {schema}.events
            WHERE global_position > %(after)s
        ) AS run
        WHERE run.global_position <> run.previous + 1
        ORDER BY run.global_position
        LIMIT 1
    ),
    (SELECT max(global_position) FROM {schema}.events WHERE global_position > %(after)s),
    %(after)s
)

-- name: soundness
-- Whether there is a store, and whether its positions are drawn as the settled log needs; works without any rights.
SELECT
    to_regclass(%(migrations)s) IS NOT NULL,
    sequence.seqcache,
    sequence.seqincrement,
    sequence.seqcycle,
    current_setting('server_encoding')
FROM (VALUES (to_regclass(%(sequence)s))) AS wanted (oid)
LEFT JOIN pg_sequence AS sequence ON sequence.seqrelid = wanted.oid

-- name: make_partitions
SELECT {schema}.make_partitions(%(expected)s)

-- name: schema_version
SELECT COALESCE(max(version), 0) FROM {schema}.schema_migrations

-- name: log_state
-- The last position drawn, if this role may know it, and the last one used; whether the log is partitioned.
SELECT
    CASE
        WHEN has_sequence_privilege(sequence.oid, 'SELECT, USAGE')
            THEN COALESCE(pg_sequence_last_value(sequence.oid), 0)
    END,
    (SELECT COALESCE(max(global_position), 0) FROM {schema}.events),
    (SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%(events)s))
FROM (VALUES (to_regclass(%(sequence)s))) AS sequence (oid)

-- name: record_migration
INSERT INTO {schema}.schema_migrations (version, name) VALUES (%s, %s)

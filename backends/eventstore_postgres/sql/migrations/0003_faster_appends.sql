-- What the trigger looked for is looked for by the statements that append: a trigger made a single append a fifth slower,
-- whatever it did.
DROP TRIGGER events_follow_what_is_left ON {schema}.events;
DROP FUNCTION {schema}.refuse_overtaken_append;

-- Between a statement's look at a stream and its insert, others may have appended to it and removed all that again, so
-- that no unique index stands in the way. Called after the insert, these look once more: at what is committed by now.
CREATE FUNCTION {schema}.refuse_overtaken_event(stream_id TEXT, version BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM {schema}.stream_lifecycle AS lifecycle
        WHERE lifecycle.stream_id = $1 AND (lifecycle.deleted OR lifecycle.version >= $2)
    ) THEN
        RAISE EXCEPTION 'the stream was truncated or deleted meanwhile'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'events_stream_id_version_key';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.require_current_view(ARRAY[$1]);
    END IF;
END
$$;

CREATE FUNCTION {schema}.refuse_overtaken_events(stream_ids TEXT[], versions BIGINT[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM unnest($1, $2) AS appended (stream_id, version)
        JOIN {schema}.stream_lifecycle AS lifecycle ON lifecycle.stream_id = appended.stream_id
        WHERE lifecycle.deleted OR lifecycle.version >= appended.version
    ) THEN
        RAISE EXCEPTION 'the stream was truncated or deleted meanwhile'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'events_stream_id_version_key';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.require_current_view($1);
    END IF;
END
$$;

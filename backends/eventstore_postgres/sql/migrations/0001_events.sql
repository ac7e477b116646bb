-- Which of these files were applied.
CREATE TABLE {schema}.schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The log. Its columns are what readers see; what streams went through besides stands in stream_lifecycle.
CREATE TABLE {schema}.events (
    global_position BIGSERIAL PRIMARY KEY,
    event_id        UUID NOT NULL,
    -- Ids and types are compared byte for byte, so that no upgrade of a locale library reorders or merges them.
    stream_id       TEXT COLLATE "C" NOT NULL,
    stream_type     TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    -- Empty for the guard of a deleted stream: it takes the version that a racing append would take, and no reader
    -- sees it. No event of a user's has an empty type.
    event_type      TEXT COLLATE "C" NOT NULL,
    data            JSONB NOT NULL,
    metadata        JSONB NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    -- Makes an append safe to repeat.
    CONSTRAINT events_event_id_key UNIQUE (event_id),
    -- Decides races between writers of a stream, and serves reading it.
    CONSTRAINT events_stream_id_version_key UNIQUE (stream_id, version)
);

-- The settled log relies on positions being drawn one by one, by the transaction that uses them.
ALTER SEQUENCE {schema}.events_global_position_seq CACHE 1 INCREMENT BY 1 NO CYCLE;

-- Reading the log of one type in order, without passing over the rest.
CREATE INDEX events_stream_type_position ON {schema}.events (stream_type, global_position);
CREATE INDEX events_event_type_position ON {schema}.events (event_type, global_position);

-- Times grow along the log, nearly: block ranges find a period at next to no cost for writers.
CREATE INDEX events_created_at ON {schema}.events USING brin (created_at) WITH (pages_per_range = 32);

-- A row only for streams that were truncated or deleted.
CREATE TABLE {schema}.stream_lifecycle (
    stream_id     TEXT COLLATE "C" PRIMARY KEY,
    stream_type   TEXT COLLATE "C" NOT NULL,
    deleted       BOOLEAN NOT NULL,
    -- The stream's version when its events were last removed, and the first version left.
    version       BIGINT NOT NULL,
    first_version BIGINT NOT NULL,
    -- Of the stream's last event, which may be gone: its clock and the head of the log never go back.
    created_at    TIMESTAMPTZ,
    last_position BIGINT NOT NULL
);
CREATE INDEX stream_lifecycle_last_position ON {schema}.stream_lifecycle (last_position);

CREATE TABLE {schema}.snapshots (
    stream_id  TEXT COLLATE "C" PRIMARY KEY,
    version    BIGINT NOT NULL,
    data       JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE {schema}.subscription_checkpoints (
    name       TEXT COLLATE "C" PRIMARY KEY,
    position   BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- Events are facts: only truncate_stream and delete_stream remove any, and they say so for their transaction.
CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('eventstore.removal', true) = 'allowed' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'events are append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Use truncate_stream or delete_stream of the store.';
END
$$;

CREATE TRIGGER events_are_append_only
    BEFORE UPDATE OR DELETE ON {schema}.events
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();

CREATE TRIGGER events_are_never_emptied
    BEFORE TRUNCATE ON {schema}.events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();

-- A transaction whose view of the store is fixed does not see what others removed since. Their lifecycle rows, which it
-- does not see either, stand in the way of its own: then it fails as Postgres says, to be run again. What the attempt
-- wrote is rolled back.
CREATE FUNCTION {schema}.require_current_view(stream_ids TEXT[]) RETURNS void LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') = 'read committed' THEN
        RETURN;
    END IF;
    BEGIN
        INSERT INTO stream_lifecycle (stream_id, stream_type, deleted, version, first_version, last_position)
        SELECT DISTINCT stream_id, '', false, 0, 1, 0 FROM unnest(stream_ids) AS stream (stream_id)
        ON CONFLICT (stream_id) DO NOTHING;
        RAISE EXCEPTION USING ERRCODE = 'triggered_action_exception';
    EXCEPTION
        WHEN triggered_action_exception THEN NULL;
    END;
END
$$;

-- Between the statement's look at a stream and its insert, others may have appended to it and removed all that again,
-- so that no unique index stands in the way. Looks once more: at what is committed by now.
CREATE FUNCTION {schema}.refuse_overtaken_append() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM inserted
        JOIN stream_lifecycle AS lifecycle USING (stream_id)
        WHERE inserted.event_type <> '' AND (lifecycle.deleted OR lifecycle.version >= inserted.version)
    ) THEN
        RAISE EXCEPTION 'the stream was truncated or deleted meanwhile'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'events_stream_id_version_key';
    END IF;
    PERFORM require_current_view(ARRAY(SELECT stream_id FROM inserted));
    RETURN NULL;
END
$$;

CREATE TRIGGER events_follow_what_is_left
    AFTER INSERT ON {schema}.events
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_overtaken_append();

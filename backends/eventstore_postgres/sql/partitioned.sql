-- The layout of a new store with `partition_size`: applied after the migrations of a store that has no event yet.
-- Postgres wants the partition key in every unique index of a partitioned table, so that what is unique stands beside it.

DROP TABLE {schema}.events;

CREATE TABLE {schema}.events (
    global_position BIGSERIAL PRIMARY KEY,
    event_id        UUID NOT NULL,
    stream_id       TEXT COLLATE "C" NOT NULL,
    stream_type     TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    event_type      TEXT COLLATE "C" NOT NULL,
    data            JSONB NOT NULL,
    metadata        JSONB NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL
) PARTITION BY RANGE (global_position);

ALTER SEQUENCE {schema}.events_global_position_seq CACHE 1 INCREMENT BY 1 NO CYCLE;

CREATE INDEX events_stream_type_position ON {schema}.events (stream_type, global_position);
CREATE INDEX events_event_type_position ON {schema}.events (event_type, global_position);
CREATE INDEX events_created_at ON {schema}.events USING brin (created_at) WITH (pages_per_range = 32);

-- A narrow row for every event: what decides races, and where the events of a stream are.
CREATE TABLE {schema}.event_keys (
    event_id        UUID NOT NULL,
    stream_id       TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    global_position BIGINT NOT NULL,
    -- Named as in the plain layout: an append asks by these names what its conflict was.
    CONSTRAINT events_event_id_key UNIQUE (event_id),
    CONSTRAINT events_stream_id_version_key UNIQUE (stream_id, version)
);

-- Before the row and not after the statement, so that an append waits for a racing one where it does in the plain
-- layout: ahead of its second look, which must come last (0003_faster_appends.sql).
CREATE FUNCTION {schema}.keep_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.event_keys (event_id, stream_id, version, created_at, global_position)
    VALUES (NEW.event_id, NEW.stream_id, NEW.version, NEW.created_at, NEW.global_position);
    RETURN NEW;
END
$$;

CREATE FUNCTION {schema}.remove_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM {schema}.event_keys WHERE stream_id = OLD.stream_id AND version = OLD.version;
    RETURN NULL;
END
$$;

CREATE TRIGGER events_have_a_key
    BEFORE INSERT ON {schema}.events
    FOR EACH ROW EXECUTE FUNCTION {schema}.keep_key();

CREATE TRIGGER events_leave_no_key
    AFTER DELETE ON {schema}.events
    FOR EACH ROW EXECUTE FUNCTION {schema}.remove_key();

CREATE TRIGGER events_are_append_only
    BEFORE UPDATE OR DELETE ON {schema}.events
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();

CREATE TRIGGER events_are_never_emptied
    BEFORE TRUNCATE ON {schema}.events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();

CREATE TRIGGER event_keys_are_append_only
    BEFORE UPDATE OR DELETE ON {schema}.event_keys
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();

CREATE TRIGGER event_keys_are_never_emptied
    BEFORE TRUNCATE ON {schema}.event_keys
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();

-- One row: how many positions each partition to come has.
CREATE TABLE {schema}.event_partitioning (
    is_only BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_only),
    size    BIGINT NOT NULL CHECK (size > 0)
);
INSERT INTO {schema}.event_partitioning (size) VALUES ({partition_size});

-- Makes the partitions that are missing for so many more events, and one and a half partitions beyond; returns the
-- position above which to ask again. Anybody who may use the schema may call it: whoever appends need not be allowed to
-- make tables. However many events a call names, it makes room for 128 partitions of them at most.
CREATE FUNCTION {schema}.make_partitions(expected BIGINT) RETURNS BIGINT LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = {schema}, pg_temp
-- Whoever holds the table may be waiting for the append that waits for this.
SET lock_timeout = '5s' AS $$
DECLARE
    step      BIGINT;
    drawn     BIGINT;
    covered   BIGINT;
    enough    BIGINT;
    partition TEXT;
BEGIN
    SELECT partitioning.size INTO STRICT step FROM event_partitioning AS partitioning;
    FOR look IN 1..2 LOOP
        SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO drawn FROM events_global_position_seq;
        SELECT max(substring(pg_get_expr(child.relpartbound, child.oid) FROM 'TO \(''(\d+)''\)')::bigint) - 1
        INTO covered
        FROM pg_inherits
        JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'events'::regclass;
        -- Positions that were drawn in vain, for want of a partition, need none any more.
        covered := GREATEST(covered, drawn);
        enough := drawn + step + step / 2 + LEAST(GREATEST(expected, 0), 128 * step);
        EXIT WHEN covered >= enough OR look = 2;
        -- The lock that attaching takes, before the second look. Appends go on beside it. ONLY, since the partitions
        -- may be vacuumed meanwhile.
        LOCK TABLE ONLY events IN SHARE UPDATE EXCLUSIVE MODE;
    END LOOP;
    WHILE covered < enough LOOP
        partition := 'events_from_' || covered + 1;
        -- Made beside the table and then attached: CREATE TABLE ... PARTITION OF would lock out the appends.
        -- Without the defaults, so that nobody inserts into a partition by mistake, past the lock that readers look at.
        EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL EXCLUDING DEFAULTS)', partition);
        -- Triggers for rows come with the attaching, those for statements do not.
        EXECUTE format(
            'CREATE TRIGGER events_are_never_emptied BEFORE TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            partition
        );
        EXECUTE format(
            'ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
            partition, covered + 1, covered + step + 1
        );
        covered := covered + step;
    END LOOP;
    RETURN covered - step - step / 2;
END
$$;

SELECT {schema}.make_partitions(0);

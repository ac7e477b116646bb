-- What consumers keep: who is at work, how far each partition has come, events that could not be handled.
CREATE TABLE {schema}.consumer_entries (
    name       TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,
    data       JSONB NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (name, key)
-- Its few rows change all the time: room in their pages keeps the indexes out of it.
) WITH (fillfactor = 50);

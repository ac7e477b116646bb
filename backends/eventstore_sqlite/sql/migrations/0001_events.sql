-- The log. Reads by stream use the unique index on (stream_id, version), which also decides who gets a version.
CREATE TABLE events (
    -- AUTOINCREMENT: a position is never used twice, not even after the last events were erased. Without it SQLite gives
    -- out max(rowid) + 1. Its counter in sqlite_sequence is the head of the log. https://sqlite.org/autoinc.html
    global_position INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Text, not bytes: people look at this table, and UUIDv7 keeps the index local either way.
    event_id        TEXT    NOT NULL UNIQUE,
    stream_id       TEXT    NOT NULL,
    stream_type     TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    event_type      TEXT    NOT NULL,
    -- JSON as it was written, so that every number comes back digit by digit.
    data            TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    -- Microseconds since 1970, in UTC.
    created_at      INTEGER NOT NULL,
    UNIQUE (stream_id, version)
) STRICT;

-- Filtered reads of the log. Every SQLite index ends with the rowid, here the position: these are in log order per type.
CREATE INDEX events_by_stream_type ON events (stream_type);
CREATE INDEX events_by_event_type ON events (event_type);

-- The counter exists from the start, so that the head can be read, and moved past positions of a rolled-back append.
INSERT INTO sqlite_sequence (name, seq) VALUES ('events', 0);

-- What the events no longer tell, for streams that were truncated or deleted; other streams have no row here.
CREATE TABLE stream_lifecycle (
    stream_id       TEXT    NOT NULL PRIMARY KEY,
    -- The version when the row was written. The stream may have grown since: its version is the higher of the two.
    version         INTEGER NOT NULL,
    -- The time of the last event then, so that the stream's clock does not go back when all its events are gone.
    last_created_at INTEGER NOT NULL,
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1))
) STRICT, WITHOUT ROWID;

-- The latest snapshot of each stream.
CREATE TABLE snapshots (
    stream_id       TEXT    NOT NULL PRIMARY KEY,
    version         INTEGER NOT NULL,
    data            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;

-- How far each subscription has come.
CREATE TABLE subscription_checkpoints (
    name            TEXT    NOT NULL PRIMARY KEY,
    position        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What consumers keep: who is at work, how far each partition has come, events that could not be handled.
CREATE TABLE consumer_entries (
    name            TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    data            TEXT    NOT NULL,
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;

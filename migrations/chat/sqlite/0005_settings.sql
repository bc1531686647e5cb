-- What an owner has set for the assistant.
CREATE TABLE settings (
    owner BLOB NOT NULL PRIMARY KEY CHECK (length(owner) = 16),
    -- Rules by the name of a tool, as JSON.
    rules TEXT NOT NULL,
    -- The seq of its last change.
    version INTEGER NOT NULL,
    update_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

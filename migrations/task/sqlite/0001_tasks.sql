-- Tasks, their labels, their change log and the requests that were answered.
-- Times are microseconds since the epoch. Ids are the 16 bytes of a UUID.

-- How far each owner's log goes.
CREATE TABLE heads (
    owner BLOB NOT NULL PRIMARY KEY CHECK (length(owner) = 16),
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    id BLOB NOT NULL CHECK (length(id) = 16),
    -- The seq of the task's last change.
    version INTEGER NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    -- 0 none, 1 low, 2 medium, 3 high.
    priority INTEGER NOT NULL,
    -- The largest integer when the task is not due, so that it sorts after all others.
    due_time INTEGER NOT NULL,
    -- A JSON array, in the order in which they were given.
    labels TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    complete_time INTEGER,
    delete_time INTEGER,
    completed INTEGER NOT NULL GENERATED ALWAYS AS (complete_time IS NOT NULL) VIRTUAL,
    deleted INTEGER NOT NULL GENERATED ALWAYS AS (delete_time IS NOT NULL) VIRTUAL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

-- One index for each order of a list, and one for a filter that has an order of its own. Deleted
-- tasks lie apart, so that a list of live ones does not read them.
CREATE INDEX tasks_by_create_time ON tasks (owner, deleted, create_time, id);
CREATE INDEX tasks_by_due_time ON tasks (owner, deleted, due_time, id);
CREATE INDEX tasks_by_update_time ON tasks (owner, deleted, update_time, id);
CREATE INDEX tasks_by_completed ON tasks (owner, deleted, completed, create_time, id);

-- The labels of live tasks, in the order in which a list by label reads them.
CREATE TABLE labels (
    owner BLOB NOT NULL,
    label TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (owner, label, create_time, id),
    FOREIGN KEY (owner, id) REFERENCES tasks (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_task ON labels (owner, id);

-- What happened. before and after are the task as JSON.
CREATE TABLE changes (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    turn BLOB,
    request_id TEXT,
    kind TEXT NOT NULL,
    task BLOB NOT NULL,
    before TEXT,
    after TEXT,
    PRIMARY KEY (owner, seq)
) STRICT, WITHOUT ROWID;

-- The first answer to each request, so that a repetition gets it again. answer is a JSON array of
-- tasks.
CREATE TABLE requests (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    request_id TEXT NOT NULL,
    method TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (owner, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_time ON requests (owner, time);

-- Tasks, their labels, their change log and the requests that were answered.
-- A user's rows are seen only with the user's id in errand.owner: see the policies.

-- How far each owner's log goes. Every write locks its owner's row first. No content, no policy:
-- housekeeping walks it, and replicas ask it for whom there is news.
CREATE TABLE task.heads (
    owner uuid NOT NULL PRIMARY KEY,
    seq bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE task.tasks (
    owner uuid NOT NULL,
    id uuid NOT NULL,
    -- The seq of the task's last change.
    version bigint NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    -- 0 none, 1 low, 2 medium, 3 high.
    priority bigint NOT NULL,
    -- Microseconds since the epoch; the largest integer when the task is not due, so that it sorts
    -- after all others.
    due_time bigint NOT NULL,
    -- A JSON array, in the order in which they were given.
    labels jsonb NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    complete_time timestamptz,
    delete_time timestamptz,
    completed boolean NOT NULL GENERATED ALWAYS AS (complete_time IS NOT NULL) STORED,
    deleted boolean NOT NULL GENERATED ALWAYS AS (delete_time IS NOT NULL) STORED,
    PRIMARY KEY (owner, id)
);

-- One index for each order of a list, and one for a filter that has an order of its own. Deleted
-- tasks lie apart, so that a list of live ones does not read them.
CREATE INDEX tasks_by_create_time ON task.tasks (owner, deleted, create_time, id);
CREATE INDEX tasks_by_due_time ON task.tasks (owner, deleted, due_time, id);
CREATE INDEX tasks_by_update_time ON task.tasks (owner, deleted, update_time, id);
CREATE INDEX tasks_by_completed ON task.tasks (owner, deleted, completed, create_time, id);

-- The labels of live tasks, in the order in which a list by label reads them.
CREATE TABLE task.labels (
    owner uuid NOT NULL,
    label text COLLATE "C" NOT NULL,
    create_time timestamptz NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (owner, label, create_time, id),
    FOREIGN KEY (owner, id) REFERENCES task.tasks (owner, id) ON DELETE CASCADE
);

CREATE INDEX labels_by_task ON task.labels (owner, id);

-- What happened. before and after are the task as JSON.
CREATE TABLE task.changes (
    owner uuid NOT NULL,
    seq bigint NOT NULL,
    time timestamptz NOT NULL,
    actor text NOT NULL,
    turn uuid,
    request_id text,
    kind text NOT NULL,
    task uuid NOT NULL,
    before jsonb,
    after jsonb,
    PRIMARY KEY (owner, seq)
);

-- The first answer to each request, so that a repetition gets it again.
CREATE TABLE task.requests (
    owner uuid NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    method text NOT NULL,
    fingerprint bytea NOT NULL,
    answer jsonb NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (owner, request_id)
);

CREATE INDEX requests_by_time ON task.requests (owner, time);

-- The second wall: a statement that forgot its owner sees nothing and writes nothing.
ALTER TABLE task.tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE task.tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON task.tasks
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
    WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid);
ALTER TABLE task.labels ENABLE ROW LEVEL SECURITY;
ALTER TABLE task.labels FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON task.labels
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
    WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid);
ALTER TABLE task.changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE task.changes FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON task.changes
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
    WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid);
ALTER TABLE task.requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE task.requests FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON task.requests
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
    WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid);

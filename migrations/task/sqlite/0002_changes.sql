-- Following the change log, undoing from it, and what is let go in time.
-- From here on the answer of a request is a JSON object: tasks, and the conflicts of an undo.

-- Which log this is: part of every cursor. A restored or copied database draws another one.
CREATE TABLE log (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    epoch BLOB NOT NULL CHECK (length(epoch) = 16)
) STRICT;

INSERT INTO log (only, epoch) VALUES (1, randomblob(16));

-- Changes up to this one may have been let go.
ALTER TABLE heads ADD COLUMN compacted INTEGER NOT NULL DEFAULT 0;
-- When the owner was erased; the row then is all that is left, and nothing is written any more.
ALTER TABLE heads ADD COLUMN erase_time INTEGER;

-- What the assistant did in one turn.
CREATE INDEX changes_by_turn ON changes (owner, turn, seq) WHERE turn IS NOT NULL;
-- Which deleted tasks are due to be purged.
CREATE INDEX tasks_by_delete_time ON tasks (owner, delete_time) WHERE delete_time IS NOT NULL;

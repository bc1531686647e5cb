-- What stops a turn, what can be undone, and what is let go: with a conversation, in time, and with
-- an account.

-- The conversation that a change belongs to, so that it goes with it.
ALTER TABLE changes ADD COLUMN conversation BLOB;

UPDATE changes SET conversation = CASE
    WHEN kind IN ('create_conversation', 'entitle_conversation')
        THEN unhex(replace(json_extract(after, '$.id'), '-', ''))
    WHEN kind = 'create_message'
        THEN unhex(replace(json_extract(after, '$.conversation'), '-', ''))
    ELSE (SELECT t.conversation FROM turns t WHERE t.owner = changes.owner AND t.id = changes.turn)
END;

CREATE INDEX changes_of_conversation ON changes (owner, conversation) WHERE conversation IS NOT NULL;

-- What is no event of a turn is let go by its age.
CREATE INDEX changes_by_time ON changes (time) WHERE step IS NULL;

-- Whether a turn changed tasks, so that it can be taken back.
ALTER TABLE turns ADD COLUMN has_changed INTEGER NOT NULL DEFAULT 0;
-- When the user asked it to stop.
ALTER TABLE turns ADD COLUMN cancel_time INTEGER;

CREATE INDEX turns_changed ON turns (owner, conversation, start_time, id) WHERE has_changed = 1;
-- Turns that are over and still have their events; a turn without steps has let them go.
CREATE INDEX turns_by_end ON turns (end_time) WHERE end_time IS NOT NULL AND steps > 0;

-- When the owner was erased; the row then is all that is left, and nothing is written any more.
ALTER TABLE heads ADD COLUMN erase_time INTEGER;

CREATE INDEX requests_by_age ON requests (time);

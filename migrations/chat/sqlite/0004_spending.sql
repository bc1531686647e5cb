-- What the language model has cost an owner on a day, in tokens: with the owner's head, which every write passes, and which
-- stays when conversations go. Days are counted in UTC, since the epoch.

ALTER TABLE heads ADD COLUMN spent_day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE heads ADD COLUMN spent_tokens INTEGER NOT NULL DEFAULT 0;

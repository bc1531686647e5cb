-- Accounts that an operator disabled or brought from elsewhere.

-- Null while the account is in use.
ALTER TABLE users ADD COLUMN disable_time INTEGER;

-- How expensive an imported hash is that was not replaced yet, so that an address that nobody has can cost the same.
ALTER TABLE emails ADD COLUMN imported TEXT;

CREATE INDEX emails_imported ON emails (imported) WHERE imported IS NOT NULL;

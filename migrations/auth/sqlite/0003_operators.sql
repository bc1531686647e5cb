-- Accounts that an operator disabled.

-- Null while the account is in use.
ALTER TABLE users ADD COLUMN disable_time INTEGER;

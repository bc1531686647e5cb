-- Accounts that are gone and what other services still hold of them, and what housekeeping looks for.

-- One row for each service that has not yet acknowledged that it erased the owner's data. The account
-- itself went in the same transaction that wrote these.
CREATE TABLE erasures (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    -- The full name of the gRPC service.
    service TEXT NOT NULL,
    tries INTEGER NOT NULL,
    -- When to ask next.
    next_time INTEGER NOT NULL,
    PRIMARY KEY (owner, service)
) STRICT, WITHOUT ROWID;

CREATE INDEX erasures_by_time ON erasures (next_time);

-- An account has one address; when it goes, that is found without reading everybody's.
CREATE UNIQUE INDEX emails_by_owner ON emails (owner);

-- What has expired is found without reading what has not.
CREATE INDEX sessions_by_expiry ON sessions (expire_time);
CREATE INDEX requests_by_time ON requests (time);

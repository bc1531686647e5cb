-- Accounts, sessions, signing keys, and the log of what happened to them.
-- Keys start with the owner; times are microseconds since the epoch; ids are 16 bytes.

CREATE TABLE users (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    display_name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    -- The seq of its last change.
    version INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    PRIMARY KEY (owner)
) STRICT, WITHOUT ROWID;

-- Look-up without an owner: the address in its one spelling -> owner.
CREATE TABLE emails (
    key TEXT NOT NULL,
    owner BLOB NOT NULL REFERENCES users (owner),
    PRIMARY KEY (key)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    owner BLOB NOT NULL REFERENCES users (owner),
    id BLOB NOT NULL CHECK (length(id) = 16),
    generation INTEGER NOT NULL,
    -- SHA-256 of the newest refresh token's secret.
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    user_agent TEXT NOT NULL,
    ip_address TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    refresh_time INTEGER NOT NULL,
    expire_time INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

-- Look-up without an owner: the id in a refresh token -> owner.
CREATE TABLE session_owners (
    id BLOB NOT NULL,
    owner BLOB NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (owner, id) REFERENCES sessions (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Without an owner: the keys that access tokens are signed with.
CREATE TABLE signing_keys (
    kid TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    -- Signs from then on.
    not_before INTEGER NOT NULL,
    -- No longer published from then on; null for the newest key.
    not_after INTEGER,
    -- The private key, encrypted.
    sealed BLOB NOT NULL,
    PRIMARY KEY (kid)
) STRICT, WITHOUT ROWID;

-- The last seq of each owner's log.
CREATE TABLE heads (
    owner BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (owner)
) STRICT, WITHOUT ROWID;

-- The log. before and after are JSON and never hold a hash or a token.
CREATE TABLE changes (
    owner BLOB NOT NULL,
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    turn BLOB,
    request_id TEXT,
    kind TEXT NOT NULL,
    before TEXT,
    after TEXT,
    PRIMARY KEY (owner, seq)
) STRICT, WITHOUT ROWID;

-- The log's index by request.
CREATE TABLE requests (
    owner BLOB NOT NULL,
    request_id TEXT NOT NULL,
    method TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    answer BLOB NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (owner, request_id)
) STRICT, WITHOUT ROWID;

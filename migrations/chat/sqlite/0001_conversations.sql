-- Conversations, what is said in them, the assistant's turns, and the log of what happened.
-- Keys start with the owner; times are microseconds since the epoch; ids are 16 bytes.

CREATE TABLE conversations (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    id BLOB NOT NULL CHECK (length(id) = 16),
    -- The seq of the change that opened it: lists are in commit order, whatever the clock does.
    seq INTEGER NOT NULL,
    -- Empty until the first message when none was given.
    title TEXT NOT NULL,
    -- The seq of its last change.
    version INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX conversations_by_seq ON conversations (owner, seq);

-- seq is that of the change that made the message, so messages are in commit order.
CREATE TABLE messages (
    owner BLOB NOT NULL,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    turn BLOB NOT NULL CHECK (length(turn) = 16),
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (owner, conversation, seq),
    FOREIGN KEY (owner, conversation) REFERENCES conversations (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- A turn is its events, which are changes; here is what must be found without reading them.
CREATE TABLE turns (
    owner BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    conversation BLOB NOT NULL,
    -- How many events it has.
    steps INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    -- Null while it is open.
    end_time INTEGER,
    -- Who is at work on it, and until when to believe so.
    lease_holder BLOB,
    lease_until INTEGER,
    PRIMARY KEY (owner, id),
    FOREIGN KEY (owner, conversation) REFERENCES conversations (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- One turn at a time in a conversation.
CREATE UNIQUE INDEX turns_open ON turns (owner, conversation) WHERE end_time IS NULL;

-- The last seq of each owner's log.
CREATE TABLE heads (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    seq INTEGER NOT NULL,
    PRIMARY KEY (owner)
) STRICT, WITHOUT ROWID;

-- The log. before and after are the conversation, the message or the turn's event as JSON.
CREATE TABLE changes (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    turn BLOB,
    -- The event's place in its turn; null for what is no event of a turn.
    step INTEGER,
    request_id TEXT,
    kind TEXT NOT NULL,
    before TEXT,
    after TEXT,
    PRIMARY KEY (owner, seq)
) STRICT, WITHOUT ROWID;

-- The events of a turn in order. Of two runners that store the same step, one loses.
CREATE UNIQUE INDEX changes_of_turn ON changes (owner, turn, step) WHERE step IS NOT NULL;

-- The first answer to each request: the conversation as JSON, or the id of the turn that answers.
CREATE TABLE requests (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    request_id TEXT NOT NULL,
    method TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    answer BLOB NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (owner, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_time ON requests (owner, time);

-- Conversations, what is said in them, the assistant's turns, and the log of what happened.
-- Keys start with the owner. Who asks sees the rows of errand.owner and no others, whoever asks:
-- row level security is forced on every table but heads, which hold no content and are how work
-- across owners finds them.

CREATE TABLE chat.conversations (
    owner uuid NOT NULL,
    id uuid NOT NULL,
    -- The seq of the change that opened it: lists are in commit order, whatever the clock does.
    seq bigint NOT NULL,
    -- Empty until the first message when none was given.
    title text NOT NULL,
    -- The seq of its last change.
    version bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    PRIMARY KEY (owner, id)
);

CREATE UNIQUE INDEX conversations_by_seq ON chat.conversations (owner, seq);

-- seq is that of the change that made the message, so messages are in commit order.
CREATE TABLE chat.messages (
    owner uuid NOT NULL,
    conversation uuid NOT NULL,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    turn uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant')),
    content text NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (owner, conversation, seq),
    FOREIGN KEY (owner, conversation) REFERENCES chat.conversations (owner, id) ON DELETE CASCADE
);

-- A turn is its events, which are changes; here is what must be found without reading them.
CREATE TABLE chat.turns (
    owner uuid NOT NULL,
    id uuid NOT NULL,
    conversation uuid NOT NULL,
    -- How many events it has.
    steps bigint NOT NULL,
    start_time timestamptz NOT NULL,
    -- Null while it is open.
    end_time timestamptz,
    -- Who is at work on it, and until when to believe so.
    lease_holder uuid,
    lease_until timestamptz,
    PRIMARY KEY (owner, id),
    FOREIGN KEY (owner, conversation) REFERENCES chat.conversations (owner, id) ON DELETE CASCADE
) WITH (fillfactor = 80);

-- One turn at a time in a conversation.
CREATE UNIQUE INDEX turns_open ON chat.turns (owner, conversation) WHERE end_time IS NULL;

-- What a conversation takes with it.
CREATE INDEX turns_of_conversation ON chat.turns (owner, conversation);

-- The last seq of each owner's log.
CREATE TABLE chat.heads (
    owner uuid NOT NULL PRIMARY KEY,
    seq bigint NOT NULL
) WITH (fillfactor = 70);

-- The log. before and after are the conversation, the message or the turn's event as JSON; as text,
-- because JSON may say what the engine's own types refuse.
CREATE TABLE chat.changes (
    owner uuid NOT NULL,
    seq bigint NOT NULL,
    "time" timestamptz NOT NULL,
    actor text NOT NULL,
    turn uuid,
    -- The event's place in its turn; null for what is no event of a turn.
    step bigint,
    request_id text,
    kind text NOT NULL,
    before text,
    after text,
    PRIMARY KEY (owner, seq)
);

-- The events of a turn in order. Of two runners that store the same step, one loses.
CREATE UNIQUE INDEX changes_of_turn ON chat.changes (owner, turn, step) WHERE step IS NOT NULL;

-- The first answer to each request: the conversation as JSON, or the id of the turn that answers.
CREATE TABLE chat.requests (
    owner uuid NOT NULL,
    request_id text NOT NULL,
    method text NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    answer bytea NOT NULL,
    "time" timestamptz NOT NULL,
    PRIMARY KEY (owner, request_id)
);

CREATE INDEX requests_by_time ON chat.requests (owner, "time");

DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['conversations', 'messages', 'turns', 'changes', 'requests'] LOOP
        EXECUTE format('ALTER TABLE chat.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_table);
        EXECUTE format(
            $policy$CREATE POLICY own ON chat.%I
                USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
                WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid)$policy$,
            v_table
        );
    END LOOP;
END
$$;

-- === what writes share ===

-- Moves the owner's head and answers how far it goes.
CREATE FUNCTION chat.advance_v1(p_owner uuid, p_count bigint) RETURNS bigint
LANGUAGE sql AS $$
    UPDATE chat.heads SET seq = seq + p_count WHERE owner = p_owner RETURNING seq
$$;

-- Keeps the first answer to a request that has a name.
CREATE FUNCTION chat.remember_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_answer bytea, p_now timestamptz
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_request_id IS NOT NULL THEN
        INSERT INTO chat.requests (owner, request_id, method, fingerprint, answer, "time")
        VALUES (p_owner, p_request_id, p_method, p_fingerprint, p_answer, p_now);
    END IF;
END
$$;

-- A conversation as it is logged and answered.
CREATE FUNCTION chat.conversation_v1(p_conversation chat.conversations) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', p_conversation.id, 'seq', p_conversation.seq, 'title', p_conversation.title,
        'version', p_conversation.version, 'created', p_conversation.create_time,
        'updated', p_conversation.update_time
    )::text
$$;

-- === leases: each locks one row of turns and nothing else ===

-- taken, held (by another runner), over.
CREATE FUNCTION chat.take_lease_v1(
    p_owner uuid, p_turn uuid, p_holder uuid, p_until timestamptz, p_now timestamptz
) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    UPDATE chat.turns t SET lease_holder = p_holder, lease_until = p_until
    WHERE t.owner = p_owner AND t.id = p_turn AND t.end_time IS NULL
      AND (t.lease_holder IS NULL OR t.lease_holder = p_holder OR t.lease_until <= p_now);
    IF FOUND THEN
        RETURN 'taken';
    END IF;
    PERFORM 1 FROM chat.turns t WHERE t.owner = p_owner AND t.id = p_turn AND t.end_time IS NULL;
    RETURN CASE WHEN FOUND THEN 'held' ELSE 'over' END;
END
$$;

CREATE FUNCTION chat.release_lease_v1(p_owner uuid, p_turn uuid, p_holder uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    UPDATE chat.turns t SET lease_holder = NULL, lease_until = NULL
    WHERE t.owner = p_owner AND t.id = p_turn AND t.lease_holder = p_holder;
END
$$;

-- Accounts, sessions, signing keys, the log of what happened to them, and the doors that write them.
-- Keys start with the owner. What belongs to a user is seen and written only while errand.owner names that user.

CREATE TABLE auth.users (
    owner uuid NOT NULL,
    email text NOT NULL,
    password_hash text NOT NULL,
    display_name text NOT NULL,
    time_zone text NOT NULL,
    -- The seq of its last change.
    version bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    PRIMARY KEY (owner)
);

-- Look-up without an owner: the address in its one spelling -> owner.
CREATE TABLE auth.emails (
    key text NOT NULL COLLATE "C",
    -- Deferred, because the address is taken before the account is written.
    owner uuid NOT NULL REFERENCES auth.users (owner) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (key)
);

CREATE TABLE auth.sessions (
    owner uuid NOT NULL REFERENCES auth.users (owner),
    id uuid NOT NULL,
    generation bigint NOT NULL,
    -- SHA-256 of the newest refresh token's secret.
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    user_agent text NOT NULL,
    ip_address text NOT NULL,
    create_time timestamptz NOT NULL,
    refresh_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (owner, id)
);

-- Look-up without an owner: the id in a refresh token -> owner.
CREATE TABLE auth.session_owners (
    id uuid NOT NULL,
    owner uuid NOT NULL,
    -- When housekeeping looks whether the session has expired. Never later than that: a refresh moves the session's
    -- end and not this; and a row that knows nothing is looked at first.
    look_time timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (id),
    FOREIGN KEY (owner, id) REFERENCES auth.sessions (owner, id) ON DELETE CASCADE
);

CREATE INDEX session_owners_by_look_time ON auth.session_owners (look_time);

-- Without an owner: the keys that access tokens are signed with.
CREATE TABLE auth.signing_keys (
    kid text NOT NULL COLLATE "C",
    create_time timestamptz NOT NULL,
    -- Signs from then on.
    not_before timestamptz NOT NULL,
    -- No longer published from then on; null for the newest key.
    not_after timestamptz,
    -- The private key, encrypted.
    sealed bytea NOT NULL,
    PRIMARY KEY (kid)
);

-- The last seq of each owner's log. Every door locks the owner's row first, so that writers of one owner stand in line.
CREATE TABLE auth.heads (
    owner uuid NOT NULL,
    seq bigint NOT NULL,
    -- When housekeeping looks for requests that were kept long enough: not later than the oldest of them was made.
    look_time timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (owner)
);

CREATE INDEX heads_by_look_time ON auth.heads (look_time);

-- The log. before and after never hold a hash or a token.
CREATE TABLE auth.changes (
    owner uuid NOT NULL,
    seq bigint NOT NULL,
    time timestamptz NOT NULL,
    actor text NOT NULL,
    turn uuid,
    request_id text,
    kind text NOT NULL,
    before jsonb,
    after jsonb,
    PRIMARY KEY (owner, seq)
);

-- The log's index by request.
CREATE TABLE auth.requests (
    owner uuid NOT NULL,
    request_id text NOT NULL COLLATE "C",
    method text NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    answer bytea NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (owner, request_id)
);

CREATE INDEX requests_by_time ON auth.requests (owner, time);

ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE auth.changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE auth.requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY owner ON auth.users
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);
CREATE POLICY owner ON auth.sessions
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);
CREATE POLICY owner ON auth.changes
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);
CREATE POLICY owner ON auth.requests
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);

-- Enters an owner's data and waits for the owner's other writers: the last seq, null when there is no log.
CREATE FUNCTION auth.enter_v1(p_owner uuid) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    RETURN (SELECT seq FROM auth.heads WHERE owner = p_owner FOR UPDATE);
END $$;

-- Appends one change and moves the head.
CREATE FUNCTION auth.append_v1(
    p_owner uuid, p_seq bigint, p_now timestamptz, p_actor text, p_turn uuid, p_request_id text, p_kind text,
    p_before jsonb, p_after jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO auth.changes (owner, seq, time, actor, turn, request_id, kind, before, after)
    VALUES (p_owner, p_seq, p_now, p_actor, p_turn, p_request_id, p_kind, p_before, p_after);
    UPDATE auth.heads SET seq = p_seq WHERE owner = p_owner;
END $$;

-- A time as the log spells it.
CREATE FUNCTION auth.time_v1(p_time timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(p_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- A session as the log holds it.
CREATE FUNCTION auth.session_subject_v1(p_session auth.sessions) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object('session', jsonb_build_object(
        'id', p_session.id,
        'generation', p_session.generation,
        'user_agent', p_session.user_agent,
        'ip_address', p_session.ip_address,
        'create_time', auth.time_v1(p_session.create_time),
        'refresh_time', auth.time_v1(p_session.refresh_time),
        'expire_time', auth.time_v1(p_session.expire_time)));
END $$;

-- Puts a session, its look-up and its change; the seq that it got.
CREATE FUNCTION auth.begin_session_v1(
    p_owner uuid, p_id uuid, p_secret_hash bytea, p_user_agent text, p_ip_address text, p_create_time timestamptz,
    p_expire_time timestamptz, p_seq bigint, p_now timestamptz, p_actor text, p_turn uuid, p_request_id text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    begun auth.sessions;
BEGIN
    INSERT INTO auth.sessions (owner, id, generation, secret_hash, user_agent, ip_address, create_time, refresh_time,
        expire_time)
    VALUES (p_owner, p_id, 0, p_secret_hash, p_user_agent, p_ip_address, p_create_time, p_create_time, p_expire_time)
    RETURNING * INTO begun;
    INSERT INTO auth.session_owners (id, owner, look_time) VALUES (p_id, p_owner, p_expire_time);
    PERFORM auth.append_v1(p_owner, p_seq + 1, p_now, p_actor, p_turn, p_request_id, 'log_in',
        NULL, auth.session_subject_v1(begun));
    RETURN p_seq + 1;
END $$;

-- Takes a session away, its look-up with it, and appends that; the seq that it got.
CREATE FUNCTION auth.remove_session_v1(
    p_session auth.sessions, p_seq bigint, p_now timestamptz, p_actor text, p_turn uuid, p_request_id text, p_kind text
) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM auth.sessions WHERE owner = p_session.owner AND id = p_session.id;
    PERFORM auth.append_v1(p_session.owner, p_seq + 1, p_now, p_actor, p_turn, p_request_id, p_kind,
        auth.session_subject_v1(p_session), NULL);
    RETURN p_seq + 1;
END $$;

-- Ends one session; false when there is none.
CREATE FUNCTION auth.end_session_v1(
    p_owner uuid, p_id uuid, p_kind text, p_now timestamptz, p_actor text, p_turn uuid, p_request_id text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    head bigint := auth.enter_v1(p_owner);
    ended auth.sessions;
BEGIN
    SELECT * INTO ended FROM auth.sessions WHERE owner = p_owner AND id = p_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM auth.remove_session_v1(ended, head, p_now, p_actor, p_turn, p_request_id, p_kind);
    RETURN true;
END $$;

-- Adds the newest signing key and says when those before it end; false when p_newest is not the newest before it.
CREATE FUNCTION auth.add_signing_key_v1(
    p_newest text, p_kid text, p_create_time timestamptz, p_not_before timestamptz, p_not_after timestamptz,
    p_sealed bytea, p_others_end timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- One at a time; who only reads is not held up.
    LOCK TABLE auth.signing_keys IN SHARE ROW EXCLUSIVE MODE;
    IF p_newest IS DISTINCT FROM (SELECT kid FROM auth.signing_keys WHERE not_after IS NULL) THEN
        RETURN false;
    END IF;
    UPDATE auth.signing_keys SET not_after = p_others_end WHERE not_after IS NULL;
    INSERT INTO auth.signing_keys (kid, create_time, not_before, not_after, sealed)
    VALUES (p_kid, p_create_time, p_not_before, p_not_after, p_sealed);
    RETURN true;
END $$;

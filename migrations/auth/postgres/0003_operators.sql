-- Accounts that an operator disabled or brought from elsewhere, and the doors that ask for it.

-- Null while the account is in use.
ALTER TABLE auth.users ADD COLUMN disable_time timestamptz;

-- How expensive an imported hash is that was not replaced yet, so that an address that nobody has can cost the same.
ALTER TABLE auth.emails ADD COLUMN imported text COLLATE "C";

CREATE INDEX emails_imported ON auth.emails (imported) WHERE imported IS NOT NULL;

-- An account as the log and kept answers hold it.
CREATE FUNCTION auth.account_v1(p_user auth.users) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'id', p_user.owner,
        'email', p_user.email,
        'display_name', p_user.display_name,
        'time_zone', p_user.time_zone,
        'version', p_user.version,
        'create_time', auth.time_v1(p_user.create_time),
        'update_time', auth.time_v1(p_user.update_time),
        'disable_time', auth.time_v1(p_user.disable_time));
END $$;

-- Stores what a user became and appends that; the account with the version that it got.
CREATE FUNCTION auth.change_user_v1(
    p_before auth.users, p_after auth.users, p_head bigint, p_now timestamptz, p_actor text, p_turn uuid,
    p_request_id text, p_kind text
) RETURNS auth.users LANGUAGE plpgsql AS $$
BEGIN
    p_after.version := p_head + 1;
    UPDATE auth.users SET
        password_hash = p_after.password_hash, display_name = p_after.display_name, time_zone = p_after.time_zone,
        version = p_after.version, update_time = p_after.update_time, disable_time = p_after.disable_time
    WHERE owner = p_after.owner;
    PERFORM auth.append_v1(p_after.owner, p_after.version, p_now, p_actor, p_turn, p_request_id, p_kind,
        jsonb_build_object('account', auth.account_v1(p_before)),
        jsonb_build_object('account', auth.account_v1(p_after)));
    RETURN p_after;
END $$;

-- Makes an account, with its first session unless p_session is null; its version, null when the address is taken.
CREATE FUNCTION auth.sign_up_v1(
    p_owner uuid, p_email_key text, p_imported text, p_email text, p_password_hash text, p_display_name text,
    p_time_zone text, p_create_time timestamptz, p_now timestamptz, p_kind text, p_session uuid, p_secret_hash bytea,
    p_user_agent text, p_ip_address text, p_begin_time timestamptz, p_expire_time timestamptz, p_actor text, p_turn uuid, p_request_id text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    begun auth.users;
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    -- Waits for whoever is taking the same address, and writes nothing when they do.
    INSERT INTO auth.emails (key, owner, imported) VALUES (p_email_key, p_owner, p_imported)
    ON CONFLICT (key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO auth.heads (owner, seq, look_time) VALUES (p_owner, 1, 'infinity');
    INSERT INTO auth.users (owner, email, password_hash, display_name, time_zone, version, create_time, update_time)
    VALUES (p_owner, p_email, p_password_hash, p_display_name, p_time_zone, 1, p_create_time, p_now)
    RETURNING * INTO begun;
    PERFORM auth.append_v1(p_owner, 1, p_now, p_actor, p_turn, p_request_id, p_kind,
        NULL, jsonb_build_object('account', auth.account_v1(begun)));
    IF p_session IS NOT NULL THEN
        PERFORM auth.begin_session_v1(p_owner, p_session, p_secret_hash, p_user_agent, p_ip_address, p_begin_time,
            p_expire_time, 1, p_now, p_actor, p_turn, p_request_id);
    END IF;
    RETURN 1;
END $$;

-- The write door of the profile: 'known' with what is kept of the request, 'stale' when the account is not at
-- p_expected, else 'done' with its version now.
CREATE FUNCTION auth.update_v1(
    p_owner uuid, p_expected bigint, p_display_name text, p_time_zone text, p_update_time timestamptz,
    p_now timestamptz, p_actor text, p_turn uuid, p_request_id text, p_method text, p_fingerprint bytea
) RETURNS TABLE (code text, version bigint, owner uuid, method text, fingerprint bytea, answer bytea)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    head bigint := auth.enter_v1(p_owner);
    before auth.users;
    after auth.users;
BEGIN
    RETURN QUERY SELECT 'known', NULL::bigint, owner, method, fingerprint, answer FROM auth.requests
        WHERE owner = p_owner AND request_id = p_request_id;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO before FROM auth.users WHERE owner = p_owner AND version = p_expected;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'stale', NULL::bigint, p_owner, NULL, NULL::bytea, NULL::bytea;
        RETURN;
    END IF;
    after := before;
    after.display_name := p_display_name;
    after.time_zone := p_time_zone;
    after.update_time := p_update_time;
    IF after IS DISTINCT FROM before THEN
        after := auth.change_user_v1(before, after, head, p_now, p_actor, p_turn, p_request_id, 'update_me');
    END IF;
    IF p_request_id IS NOT NULL THEN
        INSERT INTO auth.requests (owner, request_id, method, fingerprint, answer, time)
        VALUES (p_owner, p_request_id, p_method, p_fingerprint,
            convert_to(auth.account_v1(after)::text, 'UTF8'), p_now);
        UPDATE auth.heads SET look_time = p_now WHERE owner = p_owner AND look_time > p_now;
    END IF;
    RETURN QUERY SELECT 'done', after.version, p_owner, NULL, NULL::bytea, NULL::bytea;
END $$;

-- Puts p_hash in the place of p_verified, or of whatever it is when that is null, and ends every session but p_keep;
-- false when p_verified is not the hash.
CREATE FUNCTION auth.change_password_v1(
    p_owner uuid, p_verified text, p_hash text, p_keep uuid, p_kind text, p_ending text, p_now timestamptz,
    p_actor text, p_turn uuid, p_request_id text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    head bigint := auth.enter_v1(p_owner);
    before auth.users;
    after auth.users;
    ended auth.sessions;
BEGIN
    SELECT * INTO before FROM auth.users
    WHERE owner = p_owner AND (p_verified IS NULL OR password_hash = p_verified);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    after := before;
    UPDATE auth.emails SET imported = NULL WHERE owner = p_owner AND imported IS NOT NULL;
    after.password_hash := p_hash;
    after.update_time := greatest(p_now, before.update_time);
    PERFORM auth.change_user_v1(before, after, head, p_now, p_actor, p_turn, p_request_id, p_kind);
    head := head + 1;
    FOR ended IN
        SELECT * FROM auth.sessions WHERE owner = p_owner AND id <> p_keep AND expire_time > p_now ORDER BY id DESC
    LOOP
        head := auth.remove_session_v1(ended, head, p_now, p_actor, p_turn, p_request_id, p_ending);
    END LOOP;
    RETURN true;
END $$;

-- Adds a session and ends the oldest of more than p_most; false when p_verified is not the hash, or the account is
-- disabled.
CREATE FUNCTION auth.open_session_v1(
    p_owner uuid, p_verified text, p_upgraded text, p_most bigint, p_ending text, p_session uuid, p_secret_hash bytea,
    p_user_agent text, p_ip_address text, p_begin_time timestamptz, p_expire_time timestamptz, p_now timestamptz,
    p_actor text, p_turn uuid, p_request_id text
) RETURNS SETOF auth.users LANGUAGE plpgsql AS $$
DECLARE
    head bigint := auth.enter_v1(p_owner);
    opener auth.users;
    ended auth.sessions;
BEGIN
    SELECT * INTO opener FROM auth.users
    WHERE owner = p_owner AND password_hash = p_verified AND disable_time IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_upgraded IS NOT NULL THEN
        -- A better hash of the same password is no change that anybody could see.
        UPDATE auth.users SET password_hash = p_upgraded WHERE owner = p_owner;
        UPDATE auth.emails SET imported = NULL WHERE owner = p_owner AND imported IS NOT NULL;
    END IF;
    FOR ended IN
        SELECT * FROM auth.sessions WHERE owner = p_owner AND expire_time > p_now ORDER BY id DESC OFFSET p_most - 1
    LOOP
        head := auth.remove_session_v1(ended, head, p_now, p_actor, p_turn, p_request_id, p_ending);
    END LOOP;
    PERFORM auth.begin_session_v1(p_owner, p_session, p_secret_hash, p_user_agent, p_ip_address, p_begin_time,
        p_expire_time, head, p_now, p_actor, p_turn, p_request_id);
    RETURN NEXT opener;
END $$;

-- Compare and swap: the session's next generation; false when it is not at the one before, is gone, or its account is
-- disabled.
CREATE FUNCTION auth.rotate_v1(
    p_owner uuid, p_id uuid, p_generation bigint, p_secret_hash bytea, p_refresh_time timestamptz,
    p_expire_time timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.enter_v1(p_owner);
    UPDATE auth.sessions SET generation = p_generation, secret_hash = p_secret_hash, refresh_time = p_refresh_time,
        expire_time = p_expire_time
    WHERE owner = p_owner AND id = p_id AND generation = p_generation - 1
        AND EXISTS (SELECT FROM auth.users WHERE owner = p_owner AND disable_time IS NULL);
    RETURN FOUND;
END $$;

-- Disables an account, or with a p_ending enables it again and ends every session that it had; null when there is
-- none, false when it is so already.
CREATE FUNCTION auth.set_disabled_v1(
    p_owner uuid, p_disable_time timestamptz, p_kind text, p_ending text, p_now timestamptz, p_actor text, p_turn uuid,
    p_request_id text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    head bigint := auth.enter_v1(p_owner);
    before auth.users;
    after auth.users;
    ended auth.sessions;
BEGIN
    SELECT * INTO before FROM auth.users WHERE owner = p_owner;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF (before.disable_time IS NULL) = (p_disable_time IS NULL) THEN
        RETURN false;
    END IF;
    after := before;
    after.disable_time := p_disable_time;
    after.update_time := greatest(p_now, before.update_time);
    PERFORM auth.change_user_v1(before, after, head, p_now, p_actor, p_turn, p_request_id, p_kind);
    head := head + 1;
    IF p_disable_time IS NULL THEN
        FOR ended IN SELECT * FROM auth.sessions WHERE owner = p_owner ORDER BY id DESC LOOP
            head := auth.remove_session_v1(ended, head, p_now, p_actor, p_turn, p_request_id, p_ending);
        END LOOP;
    END IF;
    RETURN true;
END $$;

-- Accounts of everybody by the keys of their addresses, from the one after p_after on.
CREATE FUNCTION auth.list_accounts_v1(p_after text, p_limit bigint) RETURNS SETOF auth.users LANGUAGE plpgsql AS $$
DECLARE
    address auth.emails;
    listed auth.users;
BEGIN
    FOR address IN SELECT * FROM auth.emails WHERE key > p_after ORDER BY key LIMIT p_limit LOOP
        PERFORM set_config('errand.owner', address.owner::text, true);
        SELECT * INTO listed FROM auth.users WHERE owner = address.owner;
        IF FOUND THEN
            RETURN NEXT listed;
        END IF;
    END LOOP;
END $$;

-- Drops at most p_limit expired sessions of anybody, requests from before p_requests_before of at most p_limit owners,
-- and retired signing keys; false when nothing was due, or another process is doing it.
CREATE FUNCTION auth.tidy_v1(p_now timestamptz, p_requests_before timestamptz, p_limit bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    due record;
    dropped bigint;
    worked boolean := false;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('auth.tidy')) THEN
        RETURN false;
    END IF;
    FOR due IN
        SELECT id, owner FROM auth.session_owners WHERE look_time <= p_now ORDER BY look_time LIMIT p_limit
    LOOP
        -- Whose data is being written is left for the next time, so that nobody waits for each other in a ring.
        PERFORM FROM auth.heads WHERE owner = due.owner FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        PERFORM set_config('errand.owner', due.owner::text, true);
        DELETE FROM auth.sessions WHERE owner = due.owner AND id = due.id AND expire_time <= p_now;
        IF NOT FOUND THEN
            UPDATE auth.session_owners SET look_time = sessions.expire_time FROM auth.sessions
            WHERE session_owners.id = due.id AND sessions.owner = due.owner AND sessions.id = due.id;
        END IF;
        worked := true;
    END LOOP;
    FOR due IN
        SELECT owner FROM auth.heads WHERE look_time < p_requests_before ORDER BY look_time LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM set_config('errand.owner', due.owner::text, true);
        DELETE FROM auth.requests WHERE owner = due.owner AND request_id IN (
            SELECT request_id FROM auth.requests WHERE owner = due.owner AND time < p_requests_before
            ORDER BY time LIMIT p_limit);
        UPDATE auth.heads SET look_time = coalesce(
            (SELECT min(time) FROM auth.requests WHERE owner = due.owner), 'infinity')
        WHERE owner = due.owner;
        worked := true;
    END LOOP;
    DELETE FROM auth.signing_keys WHERE not_after <= p_now;
    RETURN worked OR FOUND;
END $$;

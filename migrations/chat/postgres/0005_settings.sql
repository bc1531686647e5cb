-- What an owner has set for the assistant.
CREATE TABLE chat.settings (
    owner uuid NOT NULL PRIMARY KEY,
    -- Rules by the name of a tool, as JSON.
    rules text NOT NULL,
    -- The seq of its last change.
    version bigint NOT NULL,
    update_time timestamptz NOT NULL
);

ALTER TABLE chat.settings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON chat.settings
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
    WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid);

-- Settings as they are logged and answered.
CREATE FUNCTION chat.settings_v1(p_settings chat.settings) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'rules', coalesce(p_settings.rules, '{}')::json, 'version', coalesce(p_settings.version, 0),
        'updated', p_settings.update_time
    )::text
$$;

-- done (with the settings), known, erased, stale.
CREATE FUNCTION chat.update_settings_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_expected bigint, p_rules text, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_before chat.settings;
    v_after chat.settings;
BEGIN
    v_head := chat.lock_v1(p_owner, true);
    IF v_head.erase_time IS NOT NULL THEN
        code := 'erased';
        RETURN;
    END IF;
    SELECT 'known', r.method, r.fingerprint, r.answer INTO code, method, fingerprint, answer
    FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO v_before FROM chat.settings s WHERE s.owner = p_owner;
    IF p_expected <> coalesce(v_before.version, 0) THEN
        code := 'stale';
        RETURN;
    END IF;
    IF p_rules = coalesce(v_before.rules, '{}') THEN
        head := v_head.seq;
        answer := convert_to(chat.settings_v1(v_before), 'UTF8');
    ELSE
        head := chat.advance_v1(p_owner, 1);
        INSERT INTO chat.settings AS s (owner, rules, version, update_time)
        VALUES (p_owner, p_rules, head, p_now)
        ON CONFLICT (owner) DO UPDATE SET
            rules = excluded.rules, version = excluded.version, update_time = excluded.update_time
        RETURNING s.* INTO v_after;
        INSERT INTO chat.changes (owner, seq, "time", actor, request_id, kind, before, after)
        VALUES (
            p_owner, head, p_now, p_actor, p_request_id, 'update_settings',
            chat.settings_v1(v_before), chat.settings_v1(v_after)
        );
        answer := convert_to(chat.settings_v1(v_after), 'UTF8');
    END IF;
    PERFORM chat.remember_v1(p_owner, p_request_id, p_method, p_fingerprint, answer, p_now);
    code := 'done';
END
$$;

-- As erase_v1, settings too.
CREATE FUNCTION chat.erase_v2(p_owner uuid, p_now timestamptz, p_part bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM chat.lock_v1(p_owner, true);
    DELETE FROM chat.settings s WHERE s.owner = p_owner;
    RETURN chat.erase_v1(p_owner, p_now, p_part);
END
$$;

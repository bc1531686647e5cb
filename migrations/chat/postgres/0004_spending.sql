-- What the language model has cost an owner on a day, in tokens: with the owner's head, which every write passes, and which
-- stays when conversations go. Days are counted in UTC, since the epoch.

ALTER TABLE chat.heads ADD COLUMN spent_day bigint NOT NULL DEFAULT 0;
ALTER TABLE chat.heads ADD COLUMN spent_tokens bigint NOT NULL DEFAULT 0;

-- As start_turn_v2, and spent: when p_budget is given and as much was spent on p_day. A request that is known is answered
-- before that.
CREATE FUNCTION chat.start_turn_v3(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_conversation uuid, p_opens boolean, p_title text, p_message uuid, p_content text,
    p_kind text, p_event text, p_holder uuid, p_until timestamptz, p_now timestamptz, p_after uuid,
    p_budget bigint, p_day bigint,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
BEGIN
    IF p_budget IS NOT NULL THEN
        v_head := chat.lock_v1(p_owner, false);
        IF v_head.erase_time IS NULL AND v_head.spent_day = p_day AND v_head.spent_tokens >= p_budget THEN
            PERFORM 1 FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
            IF NOT FOUND THEN
                code := 'spent';
                RETURN;
            END IF;
        END IF;
    END IF;
    SELECT s.code, s.head, s.method, s.fingerprint, s.answer INTO code, head, method, fingerprint, answer
    FROM chat.start_turn_v2(
        p_owner, p_request_id, p_method, p_fingerprint, p_actor, p_id, p_conversation, p_opens, p_title, p_message,
        p_content, p_kind, p_event, p_holder, p_until, p_now, p_after
    ) s;
END
$$;

-- As append_v1, with what the events say was spent on p_day.
CREATE FUNCTION chat.append_v2(
    p_owner uuid, p_turn uuid, p_from bigint, p_actor text, p_kinds text[], p_events text[],
    p_message uuid, p_content text, p_ends boolean, p_has_changed boolean, p_undone uuid, p_now timestamptz,
    p_spent bigint, p_day bigint,
    OUT is_stored boolean, OUT is_cancelled boolean, OUT head bigint
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT s.is_stored, s.is_cancelled, s.head INTO is_stored, is_cancelled, head
    FROM chat.append_v1(
        p_owner, p_turn, p_from, p_actor, p_kinds, p_events, p_message, p_content, p_ends, p_has_changed, p_undone, p_now
    ) s;
    IF is_stored AND p_spent > 0 THEN
        UPDATE chat.heads h SET
            spent_tokens = CASE WHEN h.spent_day = p_day THEN h.spent_tokens ELSE 0 END + p_spent,
            spent_day = p_day
        WHERE h.owner = p_owner;
    END IF;
END
$$;

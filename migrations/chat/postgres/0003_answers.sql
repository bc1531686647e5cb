-- An answer to a question begins a turn only where nothing else was said since.

-- As start_turn_v1, and moved: when p_after is given and its answer is not the last that was said in the
-- conversation. A request that is known is answered before that.
CREATE FUNCTION chat.start_turn_v2(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_conversation uuid, p_opens boolean, p_title text, p_message uuid, p_content text,
    p_kind text, p_event text, p_holder uuid, p_until timestamptz, p_now timestamptz, p_after uuid,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_turn uuid;
    v_role text;
BEGIN
    IF p_after IS NOT NULL THEN
        PERFORM chat.lock_v1(p_owner, false);
        PERFORM 1 FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
        IF NOT FOUND THEN
            SELECT m.turn, m.role INTO v_turn, v_role FROM chat.messages m
            WHERE m.owner = p_owner AND m.conversation = p_conversation ORDER BY m.seq DESC LIMIT 1;
            IF FOUND AND (v_turn <> p_after OR v_role <> 'assistant') THEN
                code := 'moved';
                RETURN;
            END IF;
        END IF;
    END IF;
    SELECT s.code, s.head, s.method, s.fingerprint, s.answer INTO code, head, method, fingerprint, answer
    FROM chat.start_turn_v1(
        p_owner, p_request_id, p_method, p_fingerprint, p_actor, p_id, p_conversation, p_opens, p_title, p_message,
        p_content, p_kind, p_event, p_holder, p_until, p_now
    ) s;
END
$$;

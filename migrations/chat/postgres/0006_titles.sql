-- The version that a conversation had when it got the start of its first message for a title. While it still has that
-- version, nobody has given it another, and a better one may be made; null where there is nothing to make.

ALTER TABLE chat.conversations ADD COLUMN drafted bigint;

-- As start_turn_v3; a title that it gives is a draft.
CREATE FUNCTION chat.start_turn_v4(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_conversation uuid, p_opens boolean, p_title text, p_message uuid, p_content text,
    p_kind text, p_event text, p_holder uuid, p_until timestamptz, p_now timestamptz, p_after uuid,
    p_budget bigint, p_day bigint,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_drafts boolean := p_opens;
BEGIN
    IF NOT v_drafts THEN
        PERFORM chat.lock_v1(p_owner, false);
        v_drafts := EXISTS (
            SELECT FROM chat.conversations c WHERE c.owner = p_owner AND c.id = p_conversation AND c.title = '');
    END IF;
    SELECT s.code, s.head, s.method, s.fingerprint, s.answer INTO code, head, method, fingerprint, answer
    FROM chat.start_turn_v3(
        p_owner, p_request_id, p_method, p_fingerprint, p_actor, p_id, p_conversation, p_opens, p_title, p_message,
        p_content, p_kind, p_event, p_holder, p_until, p_now, p_after, p_budget, p_day
    ) s;
    IF code = 'done' AND v_drafts THEN
        UPDATE chat.conversations c SET drafted = c.version WHERE c.owner = p_owner AND c.id = p_conversation;
    END IF;
END
$$;

-- As update_conversation_v1; what its user has said about a title is no draft, not even where it says the same.
CREATE FUNCTION chat.update_conversation_v2(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_expected bigint, p_title text, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT s.code, s.head, s.method, s.fingerprint, s.answer INTO code, head, method, fingerprint, answer
    FROM chat.update_conversation_v1(
        p_owner, p_request_id, p_method, p_fingerprint, p_actor, p_id, p_expected, p_title, p_now
    ) s;
    IF code = 'done' THEN
        UPDATE chat.conversations c SET drafted = NULL
        WHERE c.owner = p_owner AND c.id = p_id AND c.drafted IS NOT NULL;
    END IF;
END
$$;

-- Gives a conversation a title in the place of a draft, if it still has that, and counts what the title has cost in any
-- case. Answers how far the owner's log goes; null when there is nobody to write for.
CREATE FUNCTION chat.entitle_v2(
    p_owner uuid, p_conversation uuid, p_turn uuid, p_actor text, p_draft bigint, p_title text,
    p_spent bigint, p_day bigint, p_now timestamptz
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_before chat.conversations;
    v_after chat.conversations;
    v_seq bigint;
BEGIN
    v_head := chat.lock_v1(p_owner, false);
    IF v_head IS NULL OR v_head.erase_time IS NOT NULL THEN
        RETURN NULL;
    END IF;
    IF p_spent > 0 THEN
        UPDATE chat.heads h SET
            spent_tokens = CASE WHEN h.spent_day = p_day THEN h.spent_tokens ELSE 0 END + p_spent,
            spent_day = p_day
        WHERE h.owner = p_owner;
    END IF;
    SELECT * INTO v_before FROM chat.conversations c
    WHERE c.owner = p_owner AND c.id = p_conversation AND c.drafted = p_draft AND c.version = p_draft;
    IF NOT FOUND OR p_title IS NULL OR p_title = v_before.title THEN
        RETURN v_head.seq;
    END IF;
    v_seq := chat.advance_v1(p_owner, 1);
    UPDATE chat.conversations c SET title = p_title, version = v_seq, update_time = p_now, drafted = NULL
    WHERE c.owner = p_owner AND c.id = p_conversation
    RETURNING * INTO v_after;
    INSERT INTO chat.changes (owner, seq, "time", actor, turn, kind, before, after, conversation)
    VALUES (
        p_owner, v_seq, p_now, p_actor, p_turn, 'entitle_conversation',
        chat.conversation_v1(v_before), chat.conversation_v1(v_after), p_conversation
    );
    RETURN v_seq;
END
$$;

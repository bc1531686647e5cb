-- What stops a turn, what can be undone, and what is let go: with a conversation, in time, and with
-- an account. And the doors: every write is one of these functions, a call of one is one
-- transaction. Each locks the owner's head before it looks at anything else, so that an owner's
-- writes are one after the other and none waits for two locks. A refusal is a code, and nothing is
-- written then. What is decided by rules is decided before, by the program.

-- The conversation that a change belongs to, so that it goes with it.
ALTER TABLE chat.changes ADD COLUMN conversation uuid;

CREATE INDEX changes_of_conversation ON chat.changes (owner, conversation) WHERE conversation IS NOT NULL;

-- What is no event of a turn is let go by its age.
CREATE INDEX changes_by_time ON chat.changes (owner, "time") WHERE step IS NULL;

-- Whether a turn changed tasks, so that it can be taken back.
ALTER TABLE chat.turns ADD COLUMN has_changed boolean NOT NULL DEFAULT false;
-- When the user asked it to stop.
ALTER TABLE chat.turns ADD COLUMN cancel_time timestamptz;

CREATE INDEX turns_changed ON chat.turns (owner, conversation, start_time, id) WHERE has_changed;
-- Turns that are over and still have their events; a turn without steps has let them go.
CREATE INDEX turns_by_end ON chat.turns (owner, end_time) WHERE end_time IS NOT NULL AND steps > 0;

-- When the owner was erased; the row then is all that is left, and nothing is written any more.
ALTER TABLE chat.heads ADD COLUMN erase_time timestamptz;

-- === what the doors share ===

-- Opens the owner's rows to this transaction and locks the owner's head. Null when there is none and
-- none is to be made: then there is nothing of that owner at all.
CREATE FUNCTION chat.lock_v1(p_owner uuid, p_makes boolean) RETURNS chat.heads
LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    SELECT * INTO v_head FROM chat.heads h WHERE h.owner = p_owner FOR UPDATE;
    IF NOT FOUND AND p_makes THEN
        INSERT INTO chat.heads (owner, seq) VALUES (p_owner, 0) ON CONFLICT (owner) DO NOTHING;
        SELECT * INTO v_head FROM chat.heads h WHERE h.owner = p_owner FOR UPDATE;
    END IF;
    RETURN v_head;
END
$$;

-- Opens a conversation, with its change.
CREATE FUNCTION chat.open_v1(
    p_owner uuid, p_id uuid, p_title text, p_seq bigint, p_actor text, p_turn uuid, p_request_id text, p_now timestamptz
) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    INSERT INTO chat.conversations AS c (owner, id, seq, title, version, create_time, update_time)
    VALUES (p_owner, p_id, p_seq, p_title, p_seq, p_now, p_now)
    RETURNING chat.conversation_v1(c) INTO v_after;
    INSERT INTO chat.changes (owner, seq, "time", actor, turn, request_id, kind, after, conversation)
    VALUES (p_owner, p_seq, p_now, p_actor, NULL, p_request_id, 'create_conversation', v_after, p_id);
    RETURN v_after;
END
$$;

-- Gives a conversation a title, with its change.
CREATE FUNCTION chat.entitle_v1(
    p_before chat.conversations, p_title text, p_seq bigint, p_actor text, p_request_id text, p_now timestamptz
) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    v_after text;
BEGIN
    UPDATE chat.conversations c SET title = p_title, version = p_seq, update_time = p_now
    WHERE c.owner = p_before.owner AND c.id = p_before.id
    RETURNING chat.conversation_v1(c) INTO v_after;
    INSERT INTO chat.changes (owner, seq, "time", actor, request_id, kind, before, after, conversation)
    VALUES (
        p_before.owner, p_seq, p_now, p_actor, p_request_id, 'entitle_conversation',
        chat.conversation_v1(p_before), v_after, p_before.id
    );
    RETURN v_after;
END
$$;

-- Says something, with its change.
CREATE FUNCTION chat.say_v1(
    p_owner uuid, p_conversation uuid, p_seq bigint, p_id uuid, p_turn uuid, p_role text, p_content text,
    p_actor text, p_origin_turn uuid, p_request_id text, p_now timestamptz
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chat.messages (owner, conversation, seq, id, turn, role, content, create_time)
    VALUES (p_owner, p_conversation, p_seq, p_id, p_turn, p_role, p_content, p_now);
    INSERT INTO chat.changes (owner, seq, "time", actor, turn, request_id, kind, after, conversation)
    VALUES (
        p_owner, p_seq, p_now, p_actor, p_origin_turn, p_request_id, 'create_message',
        json_build_object(
            'id', p_id, 'conversation', p_conversation, 'turn', p_turn, 'role', p_role, 'content', p_content,
            'created', p_now
        )::text,
        p_conversation
    );
END
$$;

-- === the doors ===

-- done (with the conversation), known (with what is kept of the request), erased.
CREATE FUNCTION chat.create_conversation_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_title text, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
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
    head := chat.advance_v1(p_owner, 1);
    answer := convert_to(chat.open_v1(p_owner, p_id, p_title, head, p_actor, NULL, p_request_id, p_now), 'UTF8');
    PERFORM chat.remember_v1(p_owner, p_request_id, p_method, p_fingerprint, answer, p_now);
    code := 'done';
END
$$;

-- done (with the conversation), known, erased, unknown, stale.
CREATE FUNCTION chat.update_conversation_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_expected bigint, p_title text, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_before chat.conversations;
BEGIN
    v_head := chat.lock_v1(p_owner, false);
    IF v_head.erase_time IS NOT NULL THEN
        code := 'erased';
        RETURN;
    END IF;
    SELECT 'known', r.method, r.fingerprint, r.answer INTO code, method, fingerprint, answer
    FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO v_before FROM chat.conversations c WHERE c.owner = p_owner AND c.id = p_id;
    IF NOT FOUND THEN
        code := 'unknown';
        RETURN;
    END IF;
    IF p_expected <> v_before.version THEN
        code := 'stale';
        RETURN;
    END IF;
    IF p_title = v_before.title THEN
        head := v_head.seq;
        answer := convert_to(chat.conversation_v1(v_before), 'UTF8');
    ELSE
        head := chat.advance_v1(p_owner, 1);
        answer := convert_to(chat.entitle_v1(v_before, p_title, head, p_actor, p_request_id, p_now), 'UTF8');
    END IF;
    PERFORM chat.remember_v1(p_owner, p_request_id, p_method, p_fingerprint, answer, p_now);
    code := 'done';
END
$$;

-- done, known, erased, unknown. Messages and turns go with the conversation, and what the log holds
-- of it: that it is gone is all that is kept.
CREATE FUNCTION chat.delete_conversation_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_before chat.conversations;
BEGIN
    v_head := chat.lock_v1(p_owner, false);
    IF v_head.erase_time IS NOT NULL THEN
        code := 'erased';
        RETURN;
    END IF;
    SELECT 'known', r.method, r.fingerprint, r.answer INTO code, method, fingerprint, answer
    FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO v_before FROM chat.conversations c WHERE c.owner = p_owner AND c.id = p_id;
    IF NOT FOUND THEN
        code := 'unknown';
        RETURN;
    END IF;
    DELETE FROM chat.changes c WHERE c.owner = p_owner AND c.conversation = p_id;
    DELETE FROM chat.conversations c WHERE c.owner = p_owner AND c.id = p_id;
    head := chat.advance_v1(p_owner, 1);
    v_before.title := '';
    INSERT INTO chat.changes (owner, seq, "time", actor, request_id, kind, before, conversation)
    VALUES (
        p_owner, head, p_now, p_actor, p_request_id, 'delete_conversation', chat.conversation_v1(v_before), p_id
    );
    PERFORM chat.remember_v1(p_owner, p_request_id, p_method, p_fingerprint, ''::bytea, p_now);
    code := 'done';
END
$$;

-- done, known, erased, unknown (conversation), busy (with the turn that is open). A conversation
-- without a title gets p_title.
CREATE FUNCTION chat.start_turn_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_id uuid, p_conversation uuid, p_opens boolean, p_title text, p_message uuid, p_content text,
    p_kind text, p_event text, p_holder uuid, p_until timestamptz, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_found chat.conversations;
    v_turn uuid;
BEGIN
    v_head := chat.lock_v1(p_owner, p_opens);
    IF v_head.erase_time IS NOT NULL THEN
        code := 'erased';
        RETURN;
    END IF;
    SELECT 'known', r.method, r.fingerprint, r.answer INTO code, method, fingerprint, answer
    FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
    IF FOUND THEN
        RETURN;
    END IF;
    IF p_opens THEN
        head := chat.advance_v1(p_owner, 3);
        PERFORM chat.open_v1(p_owner, p_conversation, p_title, head - 2, p_actor, NULL, p_request_id, p_now);
    ELSE
        SELECT * INTO v_found FROM chat.conversations c WHERE c.owner = p_owner AND c.id = p_conversation;
        IF NOT FOUND THEN
            code := 'unknown';
            RETURN;
        END IF;
        SELECT t.id INTO v_turn FROM chat.turns t
        WHERE t.owner = p_owner AND t.conversation = p_conversation AND t.end_time IS NULL;
        IF FOUND THEN
            code := 'busy';
            answer := uuid_send(v_turn);
            RETURN;
        END IF;
        IF v_found.title = '' THEN
            head := chat.advance_v1(p_owner, 3);
            PERFORM chat.entitle_v1(v_found, p_title, head - 2, p_actor, p_request_id, p_now);
        ELSE
            head := chat.advance_v1(p_owner, 2);
        END IF;
    END IF;
    PERFORM chat.say_v1(
        p_owner, p_conversation, head - 1, p_message, p_id, 'user', p_content, p_actor, NULL, p_request_id, p_now
    );
    INSERT INTO chat.turns (owner, id, conversation, steps, start_time, lease_holder, lease_until)
    VALUES (p_owner, p_id, p_conversation, 1, p_now, p_holder, p_until);
    INSERT INTO chat.changes (owner, seq, "time", actor, turn, step, request_id, kind, after, conversation)
    VALUES (p_owner, head, p_now, p_actor, p_id, 0, p_request_id, p_kind, p_event, p_conversation);
    PERFORM chat.remember_v1(p_owner, p_request_id, p_method, p_fingerprint, uuid_send(p_id), p_now);
    code := 'done';
END
$$;

-- Whether these steps were stored, and whether the turn is to stop. They are not when the turn is
-- over or has other steps than the ones before p_from.
CREATE FUNCTION chat.append_v1(
    p_owner uuid, p_turn uuid, p_from bigint, p_actor text, p_kinds text[], p_events text[],
    p_message uuid, p_content text, p_ends boolean, p_has_changed boolean, p_undone uuid, p_now timestamptz,
    OUT is_stored boolean, OUT is_cancelled boolean, OUT head bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_turn chat.turns;
    v_count bigint := cardinality(p_events);
    v_replies bigint := CASE WHEN p_message IS NULL THEN 0 ELSE 1 END;
    v_first bigint;
BEGIN
    is_stored := false;
    is_cancelled := false;
    v_head := chat.lock_v1(p_owner, false);
    SELECT * INTO v_turn FROM chat.turns t WHERE t.owner = p_owner AND t.id = p_turn;
    IF NOT FOUND OR v_turn.end_time IS NOT NULL OR v_turn.steps <> p_from THEN
        RETURN;
    END IF;
    head := chat.advance_v1(p_owner, v_count + v_replies);
    v_first := head - v_count - v_replies + 1;
    INSERT INTO chat.changes (owner, seq, "time", actor, turn, step, kind, after, conversation)
    SELECT p_owner, v_first + e.at - 1, p_now, p_actor, p_turn, p_from + e.at - 1, e.kind, e.event, v_turn.conversation
    FROM unnest(p_kinds, p_events) WITH ORDINALITY AS e (kind, event, at);
    IF p_message IS NOT NULL THEN
        PERFORM chat.say_v1(
            p_owner, v_turn.conversation, head, p_message, p_turn, 'assistant', p_content, p_actor, p_turn, NULL, p_now
        );
    END IF;
    UPDATE chat.turns t SET
        steps = p_from + v_count,
        end_time = CASE WHEN p_ends THEN p_now END,
        has_changed = t.has_changed OR p_has_changed,
        lease_holder = CASE WHEN NOT p_ends THEN t.lease_holder END,
        lease_until = CASE WHEN NOT p_ends THEN t.lease_until END
    WHERE t.owner = p_owner AND t.id = p_turn;
    IF p_undone IS NOT NULL THEN
        UPDATE chat.turns t SET has_changed = false WHERE t.owner = p_owner AND t.id = p_undone;
    END IF;
    is_stored := true;
    is_cancelled := v_turn.cancel_time IS NOT NULL;
END
$$;

-- done, known, erased, unknown, over.
CREATE FUNCTION chat.cancel_turn_v1(
    p_owner uuid, p_request_id text, p_method text, p_fingerprint bytea, p_actor text,
    p_turn uuid, p_now timestamptz,
    OUT code text, OUT head bigint, OUT method text, OUT fingerprint bytea, OUT answer bytea
) LANGUAGE plpgsql AS $$
DECLARE
    v_head chat.heads;
    v_turn chat.turns;
BEGIN
    v_head := chat.lock_v1(p_owner, false);
    IF v_head.erase_time IS NOT NULL THEN
        code := 'erased';
        RETURN;
    END IF;
    SELECT 'known', r.method, r.fingerprint, r.answer INTO code, method, fingerprint, answer
    FROM chat.requests r WHERE r.owner = p_owner AND r.request_id = p_request_id;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO v_turn FROM chat.turns t WHERE t.owner = p_owner AND t.id = p_turn;
    IF NOT FOUND THEN
        code := 'unknown';
        RETURN;
    END IF;
    IF v_turn.end_time IS NOT NULL THEN
        code := 'over';
        RETURN;
    END IF;
    head := v_head.seq;
    IF v_turn.cancel_time IS NULL THEN
        UPDATE chat.turns t SET cancel_time = p_now WHERE t.owner = p_owner AND t.id = p_turn;
        head := chat.advance_v1(p_owner, 1);
        INSERT INTO chat.changes (owner, seq, "time", actor, turn, request_id, kind, conversation)
        VALUES (p_owner, head, p_now, p_actor, p_turn, p_request_id, 'cancel_turn', v_turn.conversation);
    END IF;
    PERFORM chat.remember_v1(p_owner, p_request_id, p_method, p_fingerprint, uuid_send(p_turn), p_now);
    code := 'done';
END
$$;

-- === leases, of which the other two stand beside their table ===

-- Whether it is still the holder's, and whether the turn is to stop.
CREATE FUNCTION chat.renew_lease_v1(
    p_owner uuid, p_turn uuid, p_holder uuid, p_until timestamptz, OUT is_kept boolean, OUT is_cancelled boolean
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    UPDATE chat.turns t SET lease_until = p_until
    WHERE t.owner = p_owner AND t.id = p_turn AND t.end_time IS NULL AND t.lease_holder = p_holder
    RETURNING true, t.cancel_time IS NOT NULL INTO is_kept, is_cancelled;
    is_kept := coalesce(is_kept, false);
    is_cancelled := coalesce(is_cancelled, false);
END
$$;

-- === letting go ===

-- Leaves a tombstone and takes away a part of everything else of an owner. Answers whether nothing
-- is left.
CREATE FUNCTION chat.erase_v1(p_owner uuid, p_now timestamptz, p_part bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_gone bigint := 0;
    v_count bigint;
BEGIN
    PERFORM chat.lock_v1(p_owner, true);
    UPDATE chat.heads h SET erase_time = p_now WHERE h.owner = p_owner AND h.erase_time IS NULL;
    DELETE FROM chat.requests r WHERE r.owner = p_owner AND r.request_id IN (
        SELECT s.request_id FROM chat.requests s WHERE s.owner = p_owner LIMIT p_part);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_gone := v_gone + v_count;
    DELETE FROM chat.changes c WHERE c.owner = p_owner AND c.seq IN (
        SELECT s.seq FROM chat.changes s WHERE s.owner = p_owner LIMIT p_part);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_gone := v_gone + v_count;
    DELETE FROM chat.messages m WHERE m.owner = p_owner AND (m.conversation, m.seq) IN (
        SELECT s.conversation, s.seq FROM chat.messages s WHERE s.owner = p_owner LIMIT p_part);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_gone := v_gone + v_count;
    DELETE FROM chat.turns t WHERE t.owner = p_owner AND t.id IN (
        SELECT s.id FROM chat.turns s WHERE s.owner = p_owner LIMIT p_part);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_gone := v_gone + v_count;
    IF v_gone = 0 THEN
        DELETE FROM chat.conversations c WHERE c.owner = p_owner AND c.id IN (
            SELECT s.id FROM chat.conversations s WHERE s.owner = p_owner LIMIT p_part);
        GET DIAGNOSTICS v_gone = ROW_COUNT;
    END IF;
    RETURN v_gone = 0;
END
$$;

-- Lets go of a part of what is older than these ages, of the p_owners owners after p_after, one
-- after the other. Answers where to go on, whether there is no owner after that, and how many rows
-- went. Nothing is done while another call is at it.
CREATE FUNCTION chat.tidy_v1(
    p_after uuid, p_owners bigint, p_part bigint, p_turns bigint, p_answered timestamptz, p_changed timestamptz,
    OUT next uuid, OUT is_end boolean, OUT gone bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_owner uuid;
    v_seen bigint := 0;
    v_count bigint;
    v_old uuid[];
BEGIN
    next := p_after;
    is_end := true;
    gone := 0;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('errand.chat.tidy', 0)) THEN
        RETURN;
    END IF;
    FOR v_owner IN SELECT h.owner FROM chat.heads h WHERE h.owner > p_after ORDER BY h.owner LIMIT p_owners LOOP
        PERFORM set_config('errand.owner', v_owner::text, true);
        v_seen := v_seen + 1;
        PERFORM 1 WHERE
            EXISTS (SELECT FROM chat.requests r WHERE r.owner = v_owner AND r."time" <= p_answered)
            OR EXISTS (SELECT FROM chat.changes c WHERE c.owner = v_owner AND c.step IS NULL AND c."time" <= p_changed)
            OR EXISTS (
                SELECT FROM chat.turns t
                WHERE t.owner = v_owner AND t.end_time IS NOT NULL AND t.steps > 0 AND t.end_time <= p_changed);
        IF FOUND THEN
            PERFORM chat.lock_v1(v_owner, false);
            DELETE FROM chat.requests r WHERE r.owner = v_owner AND r.request_id IN (
                SELECT s.request_id FROM chat.requests s
                WHERE s.owner = v_owner AND s."time" <= p_answered ORDER BY s."time" LIMIT p_part);
            GET DIAGNOSTICS v_count = ROW_COUNT;
            gone := gone + v_count;
            DELETE FROM chat.changes c WHERE c.owner = v_owner AND c.seq IN (
                SELECT s.seq FROM chat.changes s
                WHERE s.owner = v_owner AND s.step IS NULL AND s."time" <= p_changed ORDER BY s."time" LIMIT p_part);
            GET DIAGNOSTICS v_count = ROW_COUNT;
            gone := gone + v_count;
            v_old := ARRAY(
                SELECT t.id FROM chat.turns t
                WHERE t.owner = v_owner AND t.end_time IS NOT NULL AND t.steps > 0 AND t.end_time <= p_changed
                ORDER BY t.end_time LIMIT p_turns);
            DELETE FROM chat.changes c WHERE c.owner = v_owner AND c.turn = ANY (v_old) AND c.step IS NOT NULL;
            GET DIAGNOSTICS v_count = ROW_COUNT;
            gone := gone + v_count;
            -- Nothing that is this old can be taken back.
            UPDATE chat.turns t SET steps = 0, has_changed = false WHERE t.owner = v_owner AND t.id = ANY (v_old);
            -- There may be more of it: the next call begins with the same owner.
            IF gone >= p_part OR cardinality(v_old) >= p_turns THEN
                is_end := false;
                RETURN;
            END IF;
        END IF;
        next := v_owner;
    END LOOP;
    is_end := v_seen < p_owners;
END
$$;

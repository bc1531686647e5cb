-- What a model has written of an answer that is not whole yet, so that another process can send it on. It is replaced as
-- the text grows and goes when the answer is stored.

CREATE TABLE chat.texts (
    owner uuid NOT NULL,
    turn uuid NOT NULL,
    -- The step that the answer will have.
    step bigint NOT NULL,
    -- Which text it is: a model may begin anew.
    id uuid NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (owner, turn),
    FOREIGN KEY (owner, turn) REFERENCES chat.turns (owner, id) ON DELETE CASCADE
) WITH (fillfactor = 50);

ALTER TABLE chat.texts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON chat.texts
    USING (owner = nullif(current_setting('errand.owner', true), '')::uuid)
    WITH CHECK (owner = nullif(current_setting('errand.owner', true), '')::uuid);

-- Keeps what was written so far, while the turn stands before that step and is the holder's to work on. It locks the row of
-- the turn and nothing else: an answer that is being stored goes first or waits for it, and takes the text away.
CREATE FUNCTION chat.keep_text_v1(
    p_owner uuid, p_turn uuid, p_holder uuid, p_step bigint, p_id uuid, p_content text
) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('errand.owner', p_owner::text, true);
    PERFORM 1 FROM chat.turns t
    WHERE t.owner = p_owner AND t.id = p_turn AND t.end_time IS NULL AND t.steps = p_step AND t.lease_holder = p_holder
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO chat.texts AS x (owner, turn, step, id, content) VALUES (p_owner, p_turn, p_step, p_id, p_content)
    ON CONFLICT (owner, turn) DO UPDATE SET step = excluded.step, id = excluded.id, content = excluded.content;
    RETURN true;
END
$$;

-- As append_v2; what was written of the answer goes with it.
CREATE FUNCTION chat.append_v3(
    p_owner uuid, p_turn uuid, p_from bigint, p_actor text, p_kinds text[], p_events text[],
    p_message uuid, p_content text, p_ends boolean, p_has_changed boolean, p_undone uuid, p_now timestamptz,
    p_spent bigint, p_day bigint,
    OUT is_stored boolean, OUT is_cancelled boolean, OUT head bigint
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT s.is_stored, s.is_cancelled, s.head INTO is_stored, is_cancelled, head
    FROM chat.append_v2(
        p_owner, p_turn, p_from, p_actor, p_kinds, p_events, p_message, p_content, p_ends, p_has_changed, p_undone, p_now,
        p_spent, p_day
    ) s;
    IF is_stored THEN
        DELETE FROM chat.texts x WHERE x.owner = p_owner AND x.turn = p_turn;
    END IF;
END
$$;

-- Following the change log, undoing from it, and what is let go in time; the write door.

-- Which log this is: part of every cursor. A restored or copied database draws another one.
CREATE TABLE task.log (
    "only" integer NOT NULL PRIMARY KEY CHECK ("only" = 1),
    epoch uuid NOT NULL
);

INSERT INTO task.log ("only", epoch) VALUES (1, gen_random_uuid());

-- Changes up to this one may have been let go.
ALTER TABLE task.heads ADD COLUMN compacted bigint NOT NULL DEFAULT 0;
-- When the owner was erased; the row then is all that is left, and nothing is written any more.
ALTER TABLE task.heads ADD COLUMN erase_time timestamptz;

-- What the assistant did in one turn.
CREATE INDEX changes_by_turn ON task.changes (owner, turn, seq) WHERE turn IS NOT NULL;
-- Which deleted tasks are due to be purged.
CREATE INDEX tasks_by_delete_time ON task.tasks (owner, delete_time) WHERE delete_time IS NOT NULL;

-- The functions below are the only way to write. Each says first for whom it works, then locks the
-- owner's head, so that the writes of one owner pass one by one and nothing can lock in a circle.
-- A refusal is an outcome, never an error, and nothing of it is kept. A function is never changed:
-- a new one gets the next number, and the old one stays until nobody calls it.

-- The write door: all steps or none. Steps are arrays of one length, in the order of the answer.
-- outcome: committed, known (the request was answered before), stale, erased; head: where the log
-- ended before.
CREATE FUNCTION task.commit_v1(
    _owner uuid,
    _time timestamptz,
    _actor text,
    _turn uuid,
    -- Without one, nothing is looked up and nothing remembered.
    _request_id text,
    _method text,
    _fingerprint bytea,
    -- Answers of then and earlier are not known any more.
    _forgotten timestamptz,
    _ids uuid[],
    -- The version that the task must have; nothing when it must not exist.
    _expected bigint[],
    -- The word for the change, and its place among the changes of this call; nothing when the task
    -- only takes part in the answer.
    _kinds text[],
    _places bigint[],
    _befores jsonb[],
    _tasks jsonb[],
    -- The label rows that the task gets in place of those that it has; nothing when they stay, in all
    -- of it when all stay.
    _labels jsonb[],
    -- Goes into the answer as it is.
    _conflicts jsonb,
    OUT outcome text,
    OUT head bigint,
    OUT method text,
    OUT fingerprint bytea,
    OUT answer jsonb
) LANGUAGE plpgsql
-- Every statement has one plan that is right for all values; making one for each call costs a third of it.
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    _changed CONSTANT bigint := cardinality(array_remove(_kinds, NULL));
    _erased timestamptz;
    _answered timestamptz;
    _id uuid;
BEGIN
    PERFORM set_config('errand.owner', _owner::text, true);
    SELECT h.seq, h.erase_time INTO head, _erased FROM task.heads h WHERE h.owner = _owner FOR UPDATE;
    IF NOT FOUND THEN
        -- Who has no head has no task either.
        IF cardinality(array_remove(_expected, NULL)) > 0 THEN
            outcome := 'stale';
            RETURN;
        END IF;
        INSERT INTO task.heads (owner, seq) VALUES (_owner, 0) ON CONFLICT (owner) DO NOTHING;
        SELECT h.seq, h.erase_time INTO head, _erased FROM task.heads h WHERE h.owner = _owner FOR UPDATE;
    END IF;
    IF _erased IS NOT NULL THEN
        outcome := 'erased';
        RETURN;
    END IF;

    IF _request_id IS NOT NULL THEN
        -- By the key alone: with the time, too, the wrong index looks as good.
        SELECT r.method, r.fingerprint, r.answer, r.time INTO method, fingerprint, answer, _answered
        FROM task.requests r WHERE r.owner = _owner AND r.request_id = _request_id;
        IF _answered > _forgotten THEN
            outcome := 'known';
            RETURN;
        END IF;
    END IF;

    -- One by one, whatever the planner thinks of the size of the table; so are the loops below.
    PERFORM FROM unnest(_ids, _expected) AS step (id, expected)
    LEFT JOIN LATERAL (
        SELECT t.version FROM task.tasks t WHERE t.owner = _owner AND t.id = step.id OFFSET 0) t ON true
    WHERE t.version IS DISTINCT FROM step.expected;
    IF FOUND THEN
        outcome := 'stale';
        RETURN;
    END IF;

    IF 'purge' = ANY (_kinds) THEN
        FOR _id IN SELECT step.id FROM unnest(_ids, _kinds) AS step (id, kind) WHERE step.kind = 'purge' LOOP
            -- Label rows go with their task.
            DELETE FROM task.tasks t WHERE t.owner = _owner AND t.id = _id;
        END LOOP;
    END IF;
    INSERT INTO task.tasks (owner, id, version, title, description, priority, due_time, labels,
                            create_time, update_time, complete_time, delete_time)
    SELECT _owner, step.id, head + step.place, task.title, task.description,
           array_position(ARRAY['none', 'low', 'medium', 'high'], task.priority) - 1,
           coalesce(task.due_time, 9223372036854775807), task.labels,
           task.create_time, task.update_time, task.complete_time, task.delete_time
    FROM unnest(_ids, _kinds, _places, _tasks) AS step (id, kind, place, task)
    CROSS JOIN jsonb_to_record(step.task) AS task (
        title text, description text, priority text, due_time bigint, labels jsonb,
        create_time timestamptz, update_time timestamptz, complete_time timestamptz, delete_time timestamptz)
    WHERE step.kind <> 'purge'
    ON CONFLICT (owner, id) DO UPDATE SET
        version = excluded.version,
        title = excluded.title,
        description = excluded.description,
        priority = excluded.priority,
        due_time = excluded.due_time,
        labels = excluded.labels,
        update_time = excluded.update_time,
        complete_time = excluded.complete_time,
        delete_time = excluded.delete_time;
    IF _labels IS NOT NULL THEN
        FOR _id IN SELECT step.id FROM unnest(_ids, _labels) AS step (id, labels) WHERE step.labels IS NOT NULL LOOP
            DELETE FROM task.labels l WHERE l.owner = _owner AND l.id = _id;
        END LOOP;
        INSERT INTO task.labels (owner, label, create_time, id)
        SELECT _owner, label.label, (step.task ->> 'create_time')::timestamptz, step.id
        FROM unnest(_ids, _tasks, _labels) AS step (id, task, labels)
        CROSS JOIN jsonb_array_elements_text(step.labels) AS label (label);
    END IF;

    IF _changed > 0 THEN
        INSERT INTO task.changes (owner, seq, time, actor, turn, request_id, kind, task, before, after)
        SELECT _owner, head + step.place, _time, _actor, _turn, _request_id, step.kind, step.id, step.before,
               CASE WHEN step.kind <> 'purge' THEN jsonb_set(step.task, '{version}', to_jsonb(head + step.place)) END
        FROM unnest(_ids, _kinds, _places, _befores, _tasks) AS step (id, kind, place, before, task)
        WHERE step.kind IS NOT NULL;
        UPDATE task.heads h SET seq = h.seq + _changed WHERE h.owner = _owner;
    END IF;

    IF _request_id IS NOT NULL THEN
        -- A few that are too old go by the way.
        DELETE FROM task.requests r WHERE r.owner = _owner AND r.request_id IN (
            SELECT old.request_id FROM task.requests old
            WHERE old.owner = _owner AND old.time <= _forgotten ORDER BY old.time LIMIT 8);
        INSERT INTO task.requests (owner, request_id, method, fingerprint, answer, time)
        SELECT _owner, _request_id, _method, _fingerprint,
               jsonb_build_object('tasks', tasks.tasks, 'conflicts', _conflicts), _time
        FROM (
            SELECT coalesce(jsonb_agg(
                CASE WHEN step.place IS NULL THEN step.task
                     ELSE jsonb_set(step.task, '{version}', to_jsonb(head + step.place)) END
                ORDER BY step.ordinality), '[]') AS tasks
            FROM unnest(_tasks, _places) WITH ORDINALITY AS step (task, place)
        ) tasks
        ON CONFLICT (owner, request_id) DO UPDATE SET
            method = excluded.method,
            fingerprint = excluded.fingerprint,
            answer = excluded.answer,
            time = excluded.time;
    END IF;
    outcome := 'committed';
END
$$;

-- Whether each of the next owners after _after has something of these times or earlier. One asks at a
-- time; another one is told of nobody.
CREATE FUNCTION task.untidy_v1(
    _after uuid, _owners bigint, _deleted timestamptz, _changed timestamptz, _answered timestamptz
) RETURNS TABLE (owner uuid, untidy boolean) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    _head record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('task.untidy', 0)) THEN
        RETURN;
    END IF;
    FOR _head IN
        SELECT h.owner, h.compacted FROM task.heads h
        WHERE h.owner >= coalesce(_after, '00000000-0000-0000-0000-000000000000') AND h.owner IS DISTINCT FROM _after
        ORDER BY h.owner LIMIT _owners
    LOOP
        PERFORM set_config('errand.owner', _head.owner::text, true);
        owner := _head.owner;
        -- Nothing is said of an owner whose log has nothing left above its mark.
        untidy := EXISTS (SELECT FROM task.tasks t WHERE t.owner = _head.owner AND t.delete_time <= _deleted)
            OR coalesce((SELECT c.time <= _changed FROM task.changes c
                         WHERE c.owner = _head.owner AND c.seq > _head.compacted ORDER BY c.seq LIMIT 1), false)
            OR EXISTS (SELECT FROM task.requests r WHERE r.owner = _head.owner AND r.time <= _answered);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Moves the mark over a part of the changes of _before or earlier, and lets go of those that are not
-- the newest of a live task; false while there is more.
CREATE FUNCTION task.compact_v1(_owner uuid, _before timestamptz, _part bigint) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    _mark bigint;
    _moved bigint;
    _read bigint;
BEGIN
    PERFORM set_config('errand.owner', _owner::text, true);
    SELECT h.compacted INTO _mark FROM task.heads h WHERE h.owner = _owner AND h.erase_time IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    -- In order of the log, not of time: a clock may have been put back.
    SELECT max(part.seq), count(*) INTO _moved, _read
    FROM (
        SELECT c.seq, bool_and(c.time <= _before) OVER (ORDER BY c.seq) AS is_old
        FROM (SELECT seq, time FROM task.changes WHERE owner = _owner AND seq > _mark ORDER BY seq LIMIT _part) c
    ) part
    WHERE part.is_old;
    IF _moved IS NULL THEN
        RETURN true;
    END IF;
    -- What was kept below the mark as a task's newest is the newest no more. A change says which one
    -- it follows: the version of the task before it.
    DELETE FROM task.changes c WHERE c.owner = _owner AND c.seq IN (
        SELECT (later.before ->> 'version')::bigint FROM task.changes later
        WHERE later.owner = _owner AND later.seq > _mark AND later.seq <= _moved AND later.before IS NOT NULL);
    DELETE FROM task.changes c
    WHERE c.owner = _owner AND c.seq > _mark AND c.seq <= _moved AND NOT EXISTS (
        SELECT FROM task.tasks t
        WHERE t.owner = _owner AND t.id = c.task AND t.version = c.seq AND NOT t.deleted);
    UPDATE task.heads h SET compacted = _moved WHERE h.owner = _owner;
    RETURN _read < _part;
END
$$;

-- Lets go of a part of the answers of _before or earlier; false while there is more.
CREATE FUNCTION task.forget_v1(_owner uuid, _before timestamptz, _part bigint) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    _gone bigint;
BEGIN
    PERFORM set_config('errand.owner', _owner::text, true);
    PERFORM FROM task.heads h WHERE h.owner = _owner FOR UPDATE;
    DELETE FROM task.requests r WHERE r.owner = _owner AND r.request_id IN (
        SELECT old.request_id FROM task.requests old
        WHERE old.owner = _owner AND old.time <= _before ORDER BY old.time LIMIT _part);
    GET DIAGNOSTICS _gone = ROW_COUNT;
    RETURN _gone < _part;
END
$$;

-- Leaves a tombstone, and takes away a part of everything else; false while there is more.
CREATE FUNCTION task.erase_v1(_owner uuid, _time timestamptz, _part bigint) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    _gone bigint;
    _all bigint := 0;
BEGIN
    PERFORM set_config('errand.owner', _owner::text, true);
    INSERT INTO task.heads AS h (owner, seq, erase_time) VALUES (_owner, 0, _time)
    ON CONFLICT (owner) DO UPDATE SET erase_time = coalesce(h.erase_time, excluded.erase_time);
    DELETE FROM task.requests r WHERE r.owner = _owner AND r.request_id IN (
        SELECT part.request_id FROM task.requests part WHERE part.owner = _owner LIMIT _part);
    GET DIAGNOSTICS _gone = ROW_COUNT;
    _all := _all + _gone;
    DELETE FROM task.changes c WHERE c.owner = _owner AND c.seq IN (
        SELECT part.seq FROM task.changes part WHERE part.owner = _owner LIMIT _part);
    GET DIAGNOSTICS _gone = ROW_COUNT;
    _all := _all + _gone;
    -- Label rows go with their task.
    DELETE FROM task.tasks t WHERE t.owner = _owner AND t.id IN (
        SELECT part.id FROM task.tasks part WHERE part.owner = _owner LIMIT _part);
    GET DIAGNOSTICS _gone = ROW_COUNT;
    RETURN _all + _gone = 0;
END
$$;

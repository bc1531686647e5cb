-- Accounts that are gone and what other services still hold of them.

-- Without an owner: one row for each service that has not yet acknowledged that it erased the owner's data. The
-- account itself went in the same transaction that wrote these.
CREATE TABLE auth.erasures (
    owner uuid NOT NULL,
    -- The full name of the gRPC service.
    service text NOT NULL COLLATE "C",
    tries bigint NOT NULL,
    -- When to ask next.
    next_time timestamptz NOT NULL,
    PRIMARY KEY (owner, service)
);

CREATE INDEX erasures_by_time ON auth.erasures (next_time);

-- An account has one address; when it goes, that is found without reading everybody's.
CREATE UNIQUE INDEX emails_by_owner ON auth.emails (owner);

-- Closes an account and notes an erasure for each service; false when p_verified is not its hash.
CREATE FUNCTION auth.close_account_v1(p_owner uuid, p_verified text, p_services text[], p_now timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.enter_v1(p_owner);
    PERFORM FROM auth.users WHERE owner = p_owner AND password_hash = p_verified;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- In the order of the foreign keys; what refers to a session goes with it.
    DELETE FROM auth.emails WHERE owner = p_owner;
    DELETE FROM auth.sessions WHERE owner = p_owner;
    DELETE FROM auth.users WHERE owner = p_owner;
    DELETE FROM auth.requests WHERE owner = p_owner;
    DELETE FROM auth.changes WHERE owner = p_owner;
    DELETE FROM auth.heads WHERE owner = p_owner;
    INSERT INTO auth.erasures (owner, service, tries, next_time)
    SELECT p_owner, service, 0, p_now FROM unnest(p_services) AS service;
    RETURN true;
END $$;

-- Takes erasures that are due and puts each off, so that nobody else takes it meanwhile: after its n-th try until
-- p_next_times[n + 1], later ones until the last of these. The last row has no owner and says when the next one is due.
CREATE FUNCTION auth.claim_erasures_v1(p_now timestamptz, p_limit bigint, p_next_times timestamptz[])
RETURNS TABLE (owner uuid, service text, tries bigint, next_time timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        WITH due AS MATERIALIZED (
            SELECT owner, service FROM auth.erasures WHERE next_time <= p_now
            ORDER BY next_time LIMIT p_limit FOR UPDATE SKIP LOCKED
        )
        UPDATE auth.erasures
        SET tries = erasures.tries + 1,
            next_time = p_next_times[1 + least(erasures.tries, cardinality(p_next_times) - 1)]
        FROM due
        WHERE erasures.owner = due.owner AND erasures.service = due.service
        RETURNING erasures.owner, erasures.service, erasures.tries - 1, NULL::timestamptz;
    RETURN QUERY SELECT NULL::uuid, NULL::text, NULL::bigint, min(next_time) FROM auth.erasures;
END $$;

-- Reports: what calls used and cost, summed by quarter hour, so that a year of an account is read in milliseconds.
--
-- Sums must be exact at every moment and cost the consumer next to nothing. So whatever writes usage leaves the
-- difference that it made in usage_deltas, by a trigger in the same statement: an insert, no lock and no search. A
-- worker adds the differences up into usage_rollups and deletes them, in one statement. A report adds what is still in
-- usage_deltas to what is in usage_rollups, in one statement too: it sees each difference in one of the two.
--
-- A call counts in the quarter hour in which it came in, as its id says: nothing that happens to it later moves it.

CREATE FUNCTION uuid7_quarter(id uuid) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (('x' || encode(substring(uuid_send(id) FROM 1 FOR 6), 'hex'))::bit(48)::bigint / 900000)::integer;
COMMENT ON FUNCTION uuid7_quarter(uuid) IS 'The quarter hour of a UUIDv7: how many have gone by since 1970, in UTC.';

CREATE TABLE usage_deltas (
    account_id bigint NOT NULL,
    quarter integer NOT NULL,
    currency text NOT NULL,
    model text NOT NULL,
    key_id bigint NOT NULL,
    user_id bigint NOT NULL,
    team_id bigint NOT NULL,
    calls integer NOT NULL,
    released_calls integer NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL,
    audio_output_tokens bigint NOT NULL,
    charge_nanos bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE usage_deltas IS
    'Changes of usage that usage_rollups does not have yet; negative where a late end replaced an expiry.';
COMMENT ON COLUMN usage_deltas.model IS 'Empty where usage names none; a key, user or team is then 0.';
SELECT app_may('SELECT, INSERT, DELETE', 'usage_deltas');

-- Sums are numeric: whatever an event claims to have used, adding it up cannot fail.
CREATE TABLE usage_rollups (
    account_id bigint NOT NULL,
    scope smallint NOT NULL CHECK (scope BETWEEN 0 AND 2),
    grain smallint NOT NULL CHECK (grain IN (1, 32)),
    quarter integer NOT NULL,
    currency text NOT NULL,
    model text NOT NULL,
    key_id bigint NOT NULL,
    user_id bigint NOT NULL,
    team_id bigint NOT NULL,
    calls bigint NOT NULL,
    released_calls bigint NOT NULL,
    input_tokens numeric NOT NULL,
    cached_input_tokens numeric NOT NULL,
    cache_write_tokens numeric NOT NULL,
    cache_write_1h_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    reasoning_tokens numeric NOT NULL,
    audio_input_tokens numeric NOT NULL,
    audio_output_tokens numeric NOT NULL,
    charge_nanos numeric NOT NULL,
    PRIMARY KEY (account_id, scope, grain, quarter, currency, model, key_id, user_id, team_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE usage_rollups IS 'Sums of usage, each call in six rows: three scopes by two grains.';
COMMENT ON COLUMN usage_rollups.scope IS
    '0: all accounts (account_id 0), by model; 1: an account, by model; 2: by model, key, user and team.';
COMMENT ON COLUMN usage_rollups.grain IS 'Quarter hours in the row: 1, or 32, which is a third of a day in UTC.';
COMMENT ON COLUMN usage_rollups.quarter IS 'The first of them, counted from 1970 in UTC.';
CREATE INDEX usage_rollups_key ON usage_rollups (key_id, grain, quarter) WHERE scope = 2 AND key_id > 0;
CREATE INDEX usage_rollups_user ON usage_rollups (user_id, grain, quarter) WHERE scope = 2 AND user_id > 0;
CREATE INDEX usage_rollups_team ON usage_rollups (team_id, grain, quarter) WHERE scope = 2 AND team_id > 0;
SELECT app_may('SELECT, INSERT, UPDATE', 'usage_rollups');

CREATE FUNCTION usage_write_deltas() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- A call that was given back is counted as one, and nothing that it used.
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO usage_deltas
        SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
            coalesce(team_id, 0), c.counted, (1 - c.counted), input_tokens * c.counted,
            cached_input_tokens * c.counted, cache_write_tokens * c.counted,
            cache_write_1h_tokens * c.counted, output_tokens * c.counted, reasoning_tokens * c.counted,
            audio_input_tokens * c.counted, audio_output_tokens * c.counted, charge_nanos
        FROM new_rows
        CROSS JOIN LATERAL (SELECT (status <> 'released')::integer AS counted) AS c;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO usage_deltas
        SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
            coalesce(team_id, 0), -c.counted, -(1 - c.counted), -input_tokens * c.counted,
            -cached_input_tokens * c.counted, -cache_write_tokens * c.counted,
            -cache_write_1h_tokens * c.counted, -output_tokens * c.counted, -reasoning_tokens * c.counted,
            -audio_input_tokens * c.counted, -audio_output_tokens * c.counted, -charge_nanos
        FROM old_rows
        CROSS JOIN LATERAL (SELECT (status <> 'released')::integer AS counted) AS c;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION usage_write_deltas() IS 'Leaves what a statement changed in usage, for usage_fold to add up.';

CREATE FUNCTION usage_fold(rows_max bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    folded bigint;
BEGIN
    WITH gone AS (
        DELETE FROM usage_deltas
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage_deltas LIMIT rows_max))
        RETURNING *
    ),
    quarters AS (
        SELECT account_id, quarter, currency, model, key_id, user_id, team_id,
            sum(calls) AS calls, sum(released_calls) AS released_calls, sum(input_tokens) AS input_tokens,
            sum(cached_input_tokens) AS cached_input_tokens, sum(cache_write_tokens) AS cache_write_tokens,
            sum(cache_write_1h_tokens) AS cache_write_1h_tokens, sum(output_tokens) AS output_tokens,
            sum(reasoning_tokens) AS reasoning_tokens, sum(audio_input_tokens) AS audio_input_tokens,
            sum(audio_output_tokens) AS audio_output_tokens, sum(charge_nanos) AS charge_nanos
        FROM gone
        GROUP BY account_id, quarter, currency, model, key_id, user_id, team_id
    ),
    added AS (
        INSERT INTO usage_rollups AS r
        SELECT CASE WHEN s.scope > 0 THEN q.account_id ELSE 0 END, s.scope, g.grain, q.quarter - q.quarter % g.grain,
            q.currency, q.model,
            CASE WHEN s.scope = 2 THEN q.key_id ELSE 0 END,
            CASE WHEN s.scope = 2 THEN q.user_id ELSE 0 END,
            CASE WHEN s.scope = 2 THEN q.team_id ELSE 0 END,
            sum(q.calls), sum(q.released_calls), sum(q.input_tokens), sum(q.cached_input_tokens),
            sum(q.cache_write_tokens), sum(q.cache_write_1h_tokens), sum(q.output_tokens), sum(q.reasoning_tokens),
            sum(q.audio_input_tokens), sum(q.audio_output_tokens), sum(q.charge_nanos)
        FROM quarters AS q
        CROSS JOIN unnest('{0,1,2}'::smallint[]) AS s (scope)
        CROSS JOIN unnest('{1,32}'::smallint[]) AS g (grain)
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
        ON CONFLICT (account_id, scope, grain, quarter, currency, model, key_id, user_id, team_id) DO UPDATE SET
            calls = r.calls + EXCLUDED.calls,
            released_calls = r.released_calls + EXCLUDED.released_calls,
            input_tokens = r.input_tokens + EXCLUDED.input_tokens,
            cached_input_tokens = r.cached_input_tokens + EXCLUDED.cached_input_tokens,
            cache_write_tokens = r.cache_write_tokens + EXCLUDED.cache_write_tokens,
            cache_write_1h_tokens = r.cache_write_1h_tokens + EXCLUDED.cache_write_1h_tokens,
            output_tokens = r.output_tokens + EXCLUDED.output_tokens,
            reasoning_tokens = r.reasoning_tokens + EXCLUDED.reasoning_tokens,
            audio_input_tokens = r.audio_input_tokens + EXCLUDED.audio_input_tokens,
            audio_output_tokens = r.audio_output_tokens + EXCLUDED.audio_output_tokens,
            charge_nanos = r.charge_nanos + EXCLUDED.charge_nanos
    )
    SELECT count(*) INTO folded FROM gone;
    RETURN folded;
END
$$;
COMMENT ON FUNCTION usage_fold(bigint) IS
    'Adds up to so many usage_deltas into usage_rollups and deletes them; returns how many. One caller at a time.';
REVOKE ALL ON FUNCTION usage_fold(bigint) FROM PUBLIC;
SELECT app_may('EXECUTE', 'FUNCTION usage_fold(bigint)');

-- From here to the end of the migration nobody else books: what was booked before is folded in by it, all later calls
-- by the triggers. Ten million calls take some minutes; meanwhile events wait in Redis.
CREATE TRIGGER write_deltas_of_insert AFTER INSERT ON usage
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_write_deltas();
CREATE TRIGGER write_deltas_of_update AFTER UPDATE ON usage
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_write_deltas();
CREATE TRIGGER write_deltas_of_delete AFTER DELETE ON usage
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_write_deltas();

INSERT INTO usage_deltas
SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
    coalesce(team_id, 0), c.counted, (1 - c.counted), input_tokens * c.counted,
    cached_input_tokens * c.counted, cache_write_tokens * c.counted,
    cache_write_1h_tokens * c.counted, output_tokens * c.counted, reasoning_tokens * c.counted,
    audio_input_tokens * c.counted, audio_output_tokens * c.counted, charge_nanos
FROM usage
CROSS JOIN LATERAL (SELECT (status <> 'released')::integer AS counted) AS c;
SELECT usage_fold(2147483647);
TRUNCATE usage_deltas;

CREATE INDEX wallets_below_zero ON wallets (account_id, currency) WHERE worst_nanos < 0 OR balance_nanos < 0;

-- Images, sound and characters that calls used, and what calls cost upstream: kept per call, and summed for reports.
--
-- What upstream says a call cost it is in US dollars, whatever the account pays in. A call of which it said nothing has
-- null there, and counts in the sums as a call without known cost: `costed_calls` are those with one, and
-- `costed_charge_nanos` is what those were charged, so that a margin is never taken over calls of unknown cost.

ALTER TYPE usage_event
    ADD ATTRIBUTE images bigint,
    ADD ATTRIBUTE image_kind text,
    ADD ATTRIBUTE audio_ms bigint,
    ADD ATTRIBUTE characters bigint,
    ADD ATTRIBUTE image_input_tokens bigint,
    ADD ATTRIBUTE image_output_tokens bigint,
    ADD ATTRIBUTE upstream_cost_nanos bigint;
ALTER TABLE usage
    ADD COLUMN images bigint NOT NULL DEFAULT 0,
    ADD COLUMN image_kind text,
    ADD COLUMN audio_ms bigint,
    ADD COLUMN characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN image_input_tokens bigint,
    ADD COLUMN image_output_tokens bigint,
    ADD COLUMN upstream_cost_nanos bigint;
COMMENT ON COLUMN usage.image_kind IS 'Size and quality of its images, as a price names them: "1024x1792:hd".';
COMMENT ON COLUMN usage.audio_ms IS 'Sound that it heard or made, where that is stated or charged; null: booked before that was kept.';
COMMENT ON COLUMN usage.image_input_tokens IS 'Of its input; null: booked before that was kept.';
COMMENT ON COLUMN usage.image_output_tokens IS 'Of its output; null: booked before that was kept.';
COMMENT ON COLUMN usage.characters IS 'Of the text that it was to speak.';
COMMENT ON COLUMN usage.upstream_cost_nanos IS 'What upstream says that it cost, in 10^-9 US dollars; null: it said nothing.';

ALTER TABLE usage_deltas
    ADD COLUMN images bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN costed_calls integer NOT NULL DEFAULT 0,
    ADD COLUMN upstream_cost_nanos bigint NOT NULL DEFAULT 0,
    ADD COLUMN costed_charge_nanos bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_rollups
    ADD COLUMN images numeric NOT NULL DEFAULT 0,
    ADD COLUMN audio_ms numeric NOT NULL DEFAULT 0,
    ADD COLUMN characters numeric NOT NULL DEFAULT 0,
    ADD COLUMN costed_calls bigint NOT NULL DEFAULT 0,
    ADD COLUMN upstream_cost_nanos numeric NOT NULL DEFAULT 0,
    ADD COLUMN costed_charge_nanos numeric NOT NULL DEFAULT 0;
COMMENT ON COLUMN usage_rollups.costed_calls IS 'Of its calls, those of which upstream said what they cost.';
COMMENT ON COLUMN usage_rollups.costed_charge_nanos IS 'What those were charged, corrections included.';

CREATE OR REPLACE FUNCTION usage_write_deltas() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- A call that was given back is counted as one, and nothing that it used.
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO usage_deltas (
            account_id, quarter, currency, model, key_id, user_id, team_id, calls, released_calls, input_tokens,
            cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
            audio_input_tokens, audio_output_tokens, charge_nanos, images, audio_ms, characters, costed_calls,
            upstream_cost_nanos, costed_charge_nanos
        )
        SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
            coalesce(team_id, 0), c.counted, (1 - c.counted), input_tokens * c.counted,
            cached_input_tokens * c.counted, cache_write_tokens * c.counted,
            cache_write_1h_tokens * c.counted, output_tokens * c.counted, reasoning_tokens * c.counted,
            audio_input_tokens * c.counted, audio_output_tokens * c.counted, charge_nanos,
            images * c.counted, coalesce(audio_ms, 0) * c.counted, characters * c.counted, c.costed,
            coalesce(upstream_cost_nanos, 0) * c.costed, charge_nanos * c.costed
        FROM new_rows
        CROSS JOIN LATERAL (
            SELECT (status <> 'released')::integer AS counted,
                (status <> 'released' AND upstream_cost_nanos IS NOT NULL)::integer AS costed
        ) AS c;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO usage_deltas (
            account_id, quarter, currency, model, key_id, user_id, team_id, calls, released_calls, input_tokens,
            cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
            audio_input_tokens, audio_output_tokens, charge_nanos, images, audio_ms, characters, costed_calls,
            upstream_cost_nanos, costed_charge_nanos
        )
        SELECT account_id, uuid7_quarter(id), currency, coalesce(model, ''), coalesce(key_id, 0), coalesce(user_id, 0),
            coalesce(team_id, 0), -c.counted, -(1 - c.counted), -input_tokens * c.counted,
            -cached_input_tokens * c.counted, -cache_write_tokens * c.counted,
            -cache_write_1h_tokens * c.counted, -output_tokens * c.counted, -reasoning_tokens * c.counted,
            -audio_input_tokens * c.counted, -audio_output_tokens * c.counted, -charge_nanos,
            -images * c.counted, -coalesce(audio_ms, 0) * c.counted, -characters * c.counted, -c.costed,
            -coalesce(upstream_cost_nanos, 0) * c.costed, -charge_nanos * c.costed
        FROM old_rows
        CROSS JOIN LATERAL (
            SELECT (status <> 'released')::integer AS counted,
                (status <> 'released' AND upstream_cost_nanos IS NOT NULL)::integer AS costed
        ) AS c;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION usage_fold(rows_max bigint) RETURNS bigint
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
            sum(audio_output_tokens) AS audio_output_tokens, sum(charge_nanos) AS charge_nanos,
            sum(images) AS images, sum(audio_ms) AS audio_ms, sum(characters) AS characters,
            sum(costed_calls) AS costed_calls, sum(upstream_cost_nanos) AS upstream_cost_nanos,
            sum(costed_charge_nanos) AS costed_charge_nanos
        FROM gone
        GROUP BY account_id, quarter, currency, model, key_id, user_id, team_id
    ),
    added AS (
        INSERT INTO usage_rollups AS r (
            account_id, scope, grain, quarter, currency, model, key_id, user_id, team_id, calls, released_calls,
            input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
            reasoning_tokens, audio_input_tokens, audio_output_tokens, charge_nanos, images, audio_ms, characters,
            costed_calls, upstream_cost_nanos, costed_charge_nanos
        )
        SELECT CASE WHEN s.scope > 0 THEN q.account_id ELSE 0 END, s.scope, g.grain, q.quarter - q.quarter % g.grain,
            q.currency, q.model,
            CASE WHEN s.scope = 2 THEN q.key_id ELSE 0 END,
            CASE WHEN s.scope = 2 THEN q.user_id ELSE 0 END,
            CASE WHEN s.scope = 2 THEN q.team_id ELSE 0 END,
            sum(q.calls), sum(q.released_calls), sum(q.input_tokens), sum(q.cached_input_tokens),
            sum(q.cache_write_tokens), sum(q.cache_write_1h_tokens), sum(q.output_tokens), sum(q.reasoning_tokens),
            sum(q.audio_input_tokens), sum(q.audio_output_tokens), sum(q.charge_nanos), sum(q.images),
            sum(q.audio_ms), sum(q.characters), sum(q.costed_calls), sum(q.upstream_cost_nanos),
            sum(q.costed_charge_nanos)
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
            charge_nanos = r.charge_nanos + EXCLUDED.charge_nanos,
            images = r.images + EXCLUDED.images,
            audio_ms = r.audio_ms + EXCLUDED.audio_ms,
            characters = r.characters + EXCLUDED.characters,
            costed_calls = r.costed_calls + EXCLUDED.costed_calls,
            upstream_cost_nanos = r.upstream_cost_nanos + EXCLUDED.upstream_cost_nanos,
            costed_charge_nanos = r.costed_charge_nanos + EXCLUDED.costed_charge_nanos
    )
    SELECT count(*) INTO folded FROM gone;
    RETURN folded;
END
$$;

CREATE OR REPLACE FUNCTION corrections_write_deltas() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_deltas (
        account_id, quarter, currency, model, key_id, user_id, team_id, calls, released_calls, input_tokens,
        cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
        audio_input_tokens, audio_output_tokens, charge_nanos, costed_charge_nanos
    )
    SELECT u.account_id, uuid7_quarter(u.id), u.currency, coalesce(u.model, ''), coalesce(u.key_id, 0),
        coalesce(u.user_id, 0), coalesce(u.team_id, 0), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n.new_nanos - n.old_nanos,
        CASE WHEN u.upstream_cost_nanos IS NULL THEN 0 ELSE n.new_nanos - n.old_nanos END
    FROM new_rows AS n
    JOIN usage AS u ON u.id = n.usage_id
    WHERE n.new_nanos <> n.old_nanos;
    RETURN NULL;
END
$$;

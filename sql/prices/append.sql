-- Add versions of prices, in the order given; nothing that was is changed.
-- $1 patterns text[]   $2 currencies text[]   $3 sold boolean[]   $4 origins text[]   $5 terms text[] (JSON)
-- $6 effective_from_ms bigint[] (null: from now on; a past time counts as now)
-- $7 plan_ids bigint[] (null: the list price)
-- Returns id, pattern, currency, plan_id, effective_from_us: one row per version.
INSERT INTO prices (pattern, currency, sold, origin, terms, effective_from, plan_id)
SELECT
    version.pattern,
    version.currency,
    version.sold,
    version.origin,
    version.terms::jsonb,
    coalesce(to_timestamp(version.effective_from_ms / 1000.0), clock_timestamp()),
    version.plan_id
FROM unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]) WITH ORDINALITY
    AS version (pattern, currency, sold, origin, terms, effective_from_ms, plan_id, position)
ORDER BY version.position
RETURNING id, pattern, currency, plan_id, (extract(epoch FROM effective_from) * 1000000)::bigint AS effective_from_us;

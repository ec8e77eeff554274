-- Every version of the prices of a plan, or of one pattern of the list in one currency, newest first: announced ones
-- and ends too.
-- $1 plan_id bigint or null (the list's)   $2 pattern text or null (all)   $3 currency text or null (any)
-- $4 rows_max bigint
-- Returns id, pattern, currency, sold, origin, terms, plan_id, effective_from_us: zero or more rows.
SELECT
    id,
    pattern,
    currency,
    sold,
    origin,
    terms,
    plan_id,
    (extract(epoch FROM effective_from) * 1000000)::bigint AS effective_from_us
FROM prices
WHERE plan_id IS NOT DISTINCT FROM $1::bigint
    AND ($2::text IS NULL OR pattern = $2)
    AND ($3::text IS NULL OR currency = $3)
ORDER BY effective_from DESC, id DESC
LIMIT $4::bigint;

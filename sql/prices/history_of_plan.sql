-- Every version of a plan's prices, newest first: announced ones and ends too.
-- $1 plan_id bigint   $2 rows_max bigint
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
WHERE plan_id = $1::bigint
ORDER BY effective_from DESC, id DESC
LIMIT $2::bigint;

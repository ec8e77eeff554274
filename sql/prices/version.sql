-- One version, in effect or not: what a call was admitted with, however long ago.
-- $1 id bigint
-- Returns id, pattern, currency, sold, origin, terms, plan_id, effective_from_us: zero or one row.
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
WHERE id = $1::bigint;

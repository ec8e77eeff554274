-- Every version of one pattern in one currency, newest first: announced ones too.
-- $1 pattern text   $2 currency text   $3 rows_max bigint   $4 plan_id bigint (null: the list's)
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
WHERE pattern = $1::text AND currency = $2::text AND plan_id IS NOT DISTINCT FROM $4::bigint
ORDER BY effective_from DESC, id DESC
LIMIT $3::bigint;

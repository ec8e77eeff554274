-- Every version of one pattern in one currency, newest first: announced ones too.
-- $1 pattern text   $2 currency text   $3 rows_max bigint
-- Returns id, pattern, currency, sold, origin, terms, effective_from_us: zero or more rows.
SELECT
    id,
    pattern,
    currency,
    sold,
    origin,
    terms,
    (extract(epoch FROM effective_from) * 1000000)::bigint AS effective_from_us
FROM prices
WHERE pattern = $1::text AND currency = $2::text
ORDER BY effective_from DESC, id DESC
LIMIT $3::bigint;

-- The version in effect of every pattern and currency, withdrawn ones included.
-- Returns id, pattern, currency, sold, origin, terms, effective_from_us: zero or more rows.
SELECT DISTINCT ON (pattern, currency)
    id,
    pattern,
    currency,
    sold,
    origin,
    terms,
    (extract(epoch FROM effective_from) * 1000000)::bigint AS effective_from_us
FROM prices
WHERE effective_from <= clock_timestamp()
ORDER BY pattern, currency, effective_from DESC, id DESC;

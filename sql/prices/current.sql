-- The version in effect of every pattern and currency, of the list and of each plan, withdrawn ones included.
-- Returns id, pattern, currency, sold, origin, terms, plan_id, effective_from_us: zero or more rows.
SELECT DISTINCT ON (plan_id, pattern, currency)
    id,
    pattern,
    currency,
    sold,
    origin,
    terms,
    plan_id,
    (extract(epoch FROM effective_from) * 1000000)::bigint AS effective_from_us
FROM prices
WHERE effective_from <= clock_timestamp()
ORDER BY plan_id, pattern, currency, effective_from DESC, id DESC;

-- Versions in effect that a book which has seen $1 and $2 may lack: added since, or come into effect since.
-- $1 id bigint, the highest id seen   $2 effective_from_us bigint, the latest time of effect seen
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
WHERE
    effective_from <= clock_timestamp()
    AND (id > $1::bigint OR effective_from > 'epoch'::timestamptz + $2::bigint * interval '1 microsecond')
ORDER BY id;

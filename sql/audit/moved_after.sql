-- What was booked from stream positions after one: Redis had not charged it then, the books have it now.
-- Of a call that was settled late, expiry and the difference have a position each.
-- $1 epoch bigint   $2 partition integer   $3 position bigint
-- Returns account_id, currency, windows, moved_nanos: zero or more rows.
SELECT account_id, currency, regexp_replace(windows, '^.*;', '') AS windows,
    charge_nanos - expired_nanos AS moved_nanos
FROM usage
WHERE epoch = $1 AND partition = $2 AND position > $3
    AND (charge_nanos <> expired_nanos OR windows LIKE '%=%') AND status <> 'expired'
UNION ALL
SELECT account_id, currency, split_part(windows, ';', 1), expired_nanos
FROM usage
WHERE epoch = $1 AND partition = $2 AND expired_position > $3 AND (expired_nanos <> 0 OR windows LIKE '%=%')

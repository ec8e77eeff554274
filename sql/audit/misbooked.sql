-- Calls whose parts do not add up: what expiry booked, and what its true end booked after it.
-- $1 rows_max integer
-- Returns id, account_id, charge_nanos, expired_nanos, moved_nanos: zero or more rows.
SELECT id, account_id, charge_nanos, expired_nanos, moved_nanos
FROM usage
WHERE moved_nanos NOT IN (charge_nanos, charge_nanos - expired_nanos)
    OR (status = 'expired' AND charge_nanos <> expired_nanos)
LIMIT $1

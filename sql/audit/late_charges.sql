-- What was charged after the hold had expired, and so without one: the account with the most.
-- Returns nanos bigint: one row.
SELECT coalesce(max(late_nanos), 0)::bigint AS nanos
FROM (
    SELECT sum(greatest(charge_nanos - expired_nanos, 0)) AS late_nanos FROM usage WHERE late GROUP BY account_id
) AS per_account

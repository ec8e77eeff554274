-- What streams have cost beyond their holds: the account with the most. Calls that count in whole elsewhere
-- (late_charges.sql, the tools of unbounded_charges.sql) are left out.
-- Returns nanos bigint: one row.
SELECT coalesce(max(excess_nanos), 0)::bigint AS nanos
FROM (
    SELECT sum(excess_nanos) AS excess_nanos
    FROM usage
    WHERE excess_nanos > 0 AND NOT late AND tools IS NULL
    GROUP BY account_id
) AS per_account

-- What corrections have added to charges that were done with: the account with the most.
-- Returns nanos bigint: one row.
SELECT coalesce(max(added_nanos), 0)::bigint AS nanos
FROM (
    SELECT sum(greatest(new_nanos - old_nanos, 0)) AS added_nanos FROM corrections GROUP BY account_id
) AS per_account

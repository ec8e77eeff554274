-- The spend windows that a key, a user, a team or an account stands under, by id, and where its account is kept.
-- $1 account_id bigint   $2 key_id bigint or null   $3 user_id bigint or null   $4 team_id bigint or null
-- $5 rows_max integer
-- Returns the columns of windows, and partition, currency: zero or more rows.
SELECT w.*, a.partition, a.currency
FROM windows AS w
JOIN accounts AS a ON a.id = w.account_id
WHERE w.account_id = $1 AND w.removed_at IS NULL AND CASE
        WHEN w.key_id IS NOT NULL THEN w.key_id = $2
        WHEN w.user_id IS NOT NULL THEN w.user_id = $3
        WHEN w.team_id IS NOT NULL THEN w.team_id = $4
        ELSE true
    END
ORDER BY w.id
LIMIT $5

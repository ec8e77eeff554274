-- Where a look for rare bill lines stops for now: at the last of so many of an account's (a key's, a user's) calls.
-- Planned anew each time (session/plan_anew.sql).
-- $1 account_id bigint or null (any)   $2 below_id uuid   $3 least_id uuid
-- $4 key_id bigint or null   $5 user_id bigint or null   $6 rows_before bigint
-- Returns id: one row, or none when there are fewer.
SELECT id
FROM usage
WHERE ($1::bigint IS NULL OR account_id = $1)
    AND id < $2 AND id >= $3
    AND ($4::bigint IS NULL OR key_id = $4)
    AND ($5::bigint IS NULL OR user_id = $5)
ORDER BY id DESC
OFFSET $6
LIMIT 1

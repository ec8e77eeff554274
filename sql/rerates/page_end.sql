-- The last of so many calls behind one, in the order in which they came in. Planned anew each time
-- (session/plan_anew.sql).
-- $1 account_id bigint or null (any)   $2 after_id uuid   $3 last_id uuid   $4 rows_before bigint
-- Returns id: one row, or none when there are fewer.
SELECT id
FROM usage
WHERE ($1::bigint IS NULL OR account_id = $1) AND id > $2 AND id <= $3
ORDER BY id
OFFSET $4
LIMIT 1

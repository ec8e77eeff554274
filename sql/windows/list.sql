-- Windows by id, of one account or of all, but for those that were removed, and those of plans.
-- $1 account_id bigint or null   $2 after_id bigint   $3 rows_max integer
-- Returns the columns of windows: zero or more rows.
SELECT *
FROM windows
WHERE id > $2 AND ($1::bigint IS NULL OR account_id = $1) AND removed_at IS NULL AND assignment_id IS NULL
ORDER BY id
LIMIT $3

-- Teams by id, of one account or of all.
-- $1 account_id bigint or null   $2 after_id bigint   $3 rows_max integer
-- Returns the columns of teams: zero or more rows.
SELECT *
FROM teams
WHERE id > $2 AND ($1::bigint IS NULL OR account_id = $1)
ORDER BY id
LIMIT $3

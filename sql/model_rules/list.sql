-- Rules by id, of one account or of all, but for those that were removed.
-- $1 account_id bigint or null   $2 after_id bigint   $3 rows_max integer
-- Returns the columns of model_rules: zero or more rows.
SELECT *
FROM model_rules
WHERE id > $2 AND ($1::bigint IS NULL OR account_id = $1) AND removed_at IS NULL
ORDER BY id
LIMIT $3

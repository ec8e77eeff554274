-- Keys by id, of one account or of all, with the prefix of their present secret.
-- $1 account_id bigint or null   $2 after_id bigint   $3 rows_max integer
-- Returns the columns of key_records: zero or more rows.
SELECT *
FROM key_records
WHERE current_secret AND key_id > $2 AND ($1::bigint IS NULL OR account_id = $1)
ORDER BY key_id
LIMIT $3

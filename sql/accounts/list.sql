-- Accounts by id.
-- $1 after_id bigint   $2 rows_max integer
-- Returns id, name, currency, partition, created_at: zero or more rows.
SELECT id, name, currency, partition, created_at
FROM accounts
WHERE id > $1
ORDER BY id
LIMIT $2

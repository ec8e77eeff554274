-- All accounts and where they live, from an id on.
-- $1 after id bigint   $2 rows_max integer
-- Returns id, partition: zero or more rows.
SELECT id, partition FROM accounts WHERE id > $1 ORDER BY id LIMIT $2

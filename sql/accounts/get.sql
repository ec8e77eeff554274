-- One account.
-- $1 id bigint
-- Returns id, name, currency, partition, created_at: one row or none.
SELECT id, name, currency, partition, created_at FROM accounts WHERE id = $1

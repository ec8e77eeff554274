-- Calls that were forwarded but never admitted.
-- $1 rows_max integer
-- Returns id, account_id, attempts: zero or more rows.
SELECT id, account_id, attempts FROM usage WHERE admitted_at IS NULL AND attempts > 0 LIMIT $1

-- Purchases and refunds of an account, newest first.
-- $1 account_id bigint   $2 created timestamptz and $3 id text of the entry before the page, or null   $4 rows_max integer
-- Returns the columns of billing_history: zero or more rows.
SELECT * FROM billing_history
WHERE account_id = $1 AND ($2::timestamptz IS NULL OR (created, id) < ($2::timestamptz, $3::text))
ORDER BY created DESC, id DESC
LIMIT $4

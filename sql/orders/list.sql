-- Orders, newest first.
-- $1 status text or null   $2 account_id bigint or null   $3 before id bigint or null   $4 rows_max integer
-- Returns the columns of payment_orders: zero or more rows.
SELECT *
FROM payment_orders
WHERE ($1::text IS NULL OR status = $1) AND ($2::bigint IS NULL OR account_id = $2) AND ($3::bigint IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4

-- The payments of an order, oldest first.
-- $1 order_id text
-- Returns the columns of payments: zero or more rows.
SELECT * FROM payments WHERE order_id = $1 ORDER BY id

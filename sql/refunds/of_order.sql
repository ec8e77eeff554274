-- The refunds of an order, oldest first.
-- $1 order_id text
-- Returns the columns of refunds: zero or more rows.
SELECT * FROM refunds WHERE order_id = $1 ORDER BY created_at, id

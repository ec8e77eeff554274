-- Lock an order for the rest of the transaction.
-- $1 order_id text
-- Returns the columns of payment_orders: one row or none.
SELECT * FROM payment_orders WHERE order_id = $1 FOR NO KEY UPDATE

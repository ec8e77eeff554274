-- One order, by its id.
-- $1 order_id text
-- Returns the columns of payment_orders: one row or none.
SELECT * FROM payment_orders WHERE order_id = $1

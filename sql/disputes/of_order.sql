-- The disputes of an order, oldest first.
-- $1 order_id text
-- Returns the columns of disputes: zero or more rows.
SELECT * FROM disputes WHERE order_id = $1 ORDER BY created_at, dispute_id

-- Write the status of an order, which is locked.
-- $1 order_id text   $2 status text
UPDATE payment_orders SET status = $2, changed_at = now() WHERE order_id = $1 AND status <> $2

-- Note that the provider is about to be asked to make an order payable.
-- $1 order_id text
UPDATE payment_orders SET sent_at = coalesce(sent_at, now()) WHERE order_id = $1

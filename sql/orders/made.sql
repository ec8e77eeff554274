-- Keep what the provider made of an order. A webhook may have been here before.
-- $1 order_id text   $2 provider_txn_id text
-- Returns provider_txn_id: one row; another than $2 when the order has one already.
UPDATE payment_orders
SET provider_txn_id = coalesce(provider_txn_id, $2),
    status = CASE WHEN status IN ('created', 'failed') AND provider_txn_id IS NULL THEN 'awaiting_payment' ELSE status END,
    failure_code = CASE WHEN provider_txn_id IS NULL THEN NULL ELSE failure_code END,
    changed_at = now()
WHERE order_id = $1
RETURNING provider_txn_id

-- The provider will not make an order payable.
-- $1 order_id text   $2 failure_code text
UPDATE payment_orders SET status = 'failed', failure_code = $2, changed_at = now()
WHERE order_id = $1 AND provider_txn_id IS NULL AND status IN ('created', 'failed')

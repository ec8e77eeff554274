-- Orders that wait for a customer, and of which no look at the provider was applied for a while; oldest first.
-- $1 provider text   $2 older than interval   $3 no older than interval   $4 after id bigint   $5 rows_max integer
-- Returns id, order_id, provider_txn_id: zero or more rows.
SELECT id, order_id, provider_txn_id
FROM payment_orders
WHERE provider = $1 AND status IN ('created', 'awaiting_payment', 'processing', 'failed')
    AND provider_txn_id IS NOT NULL AND created_at < now() - $2::interval AND created_at > now() - $3::interval
    AND id > $4
ORDER BY id
LIMIT $5

-- Write what a look at the provider has made of an order, which is locked.
-- $1 order_id text   $2 read bigint   $3 status text   $4 failure_code text or null   $5 review_reason text or null
-- $6 provider_txn_id text or null   $7 payment_id text or null   $8 paid boolean: the money came in just now
UPDATE payment_orders
SET applied_read = greatest(applied_read, $2), status = $3, failure_code = $4, review_reason = $5,
    provider_txn_id = coalesce(provider_txn_id, $6), payment_id = coalesce(payment_id, $7),
    paid_at = CASE WHEN $8 THEN now() ELSE paid_at END,
    changed_at = CASE WHEN status = $3 AND failure_code IS NOT DISTINCT FROM $4 THEN changed_at ELSE now() END
WHERE order_id = $1

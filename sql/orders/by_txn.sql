-- The order that a provider's id belongs to.
-- $1 provider text   $2 provider_txn_id text: of what we made there, or of the payment
-- Returns order_id: one row or none.
SELECT order_id FROM payment_orders WHERE provider = $1 AND provider_txn_id = $2
UNION
SELECT order_id FROM payment_orders WHERE provider = $1 AND payment_id = $2
LIMIT 1

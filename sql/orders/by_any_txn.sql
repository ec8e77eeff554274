-- The order that an id of some provider's belongs to.
-- $1 provider_txn_id text: of what we made there, or of the payment
-- Returns order_id: one row or none.
SELECT order_id FROM payment_orders WHERE provider_txn_id = $1
UNION
SELECT order_id FROM payment_orders WHERE payment_id = $1
LIMIT 1

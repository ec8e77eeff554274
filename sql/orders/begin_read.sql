-- Take the number of a look at the provider, before it looks.
-- $1 order_id text
-- Returns reads, provider_txn_id: one row or none.
UPDATE payment_orders SET reads = reads + 1 WHERE order_id = $1 RETURNING reads, provider_txn_id

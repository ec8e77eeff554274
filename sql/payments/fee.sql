-- Keep what the provider kept of a payment, with the ledger transaction that booked it (none for a fee of nothing).
-- $1 id bigint   $2 fee_currency text   $3 fee_nanos bigint   $4 fee_transaction_id bigint or null
UPDATE payments SET fee_currency = $2, fee_nanos = $3, fee_transaction_id = $4 WHERE id = $1

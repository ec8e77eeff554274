-- The order is paid: what was reserved for it is used. Again changes nothing, but for a ledger transaction that was
-- not known before.
-- $1 order_id text   $2 ledger_transaction_id bigint or null
-- Returns amount_nanos: one row, or none when the order has no code.
UPDATE credit_code_uses
SET state = 'used', ledger_transaction_id = coalesce(ledger_transaction_id, $2), changed_at = now()
WHERE order_id = $1 AND state <> 'released'
RETURNING amount_nanos

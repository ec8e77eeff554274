-- The code that an order has.
-- $1 order_id text
-- Returns code_id, account_id, currency, amount_nanos, state: one row or none.
SELECT code_id, account_id, currency, amount_nanos, state
FROM credit_code_uses
WHERE order_id = $1 AND state <> 'released'

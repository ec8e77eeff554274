-- Take a use of a code that lock.sql has locked and that has one left.
-- $1 code_id bigint   $2 account_id bigint   $3 order_id text or null   $4 state text   $5 currency text
-- $6 amount_nanos bigint   $7 ledger_transaction_id bigint or null
-- Returns id: one row, or none when the order has got another code meanwhile: then the transaction must be given up.
WITH counted AS (
    UPDATE credit_codes SET uses = uses + 1 WHERE id = $1
)
INSERT INTO credit_code_uses (code_id, account_id, order_id, state, currency, amount_nanos, ledger_transaction_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (order_id) WHERE order_id IS NOT NULL AND state <> 'released' DO NOTHING
RETURNING id

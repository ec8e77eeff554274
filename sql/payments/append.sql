-- Keep a payment, with the ledger transaction that booked it.
-- $1 order_id text   $2 provider text   $3 payment_id text   $4 currency text   $5 amount_minor bigint
-- $6 amount_nanos bigint   $7 bonus_nanos bigint   $8 booked_to text   $9 ledger_transaction_id bigint
-- Returns the columns of payments: one row.
INSERT INTO payments (order_id, provider, payment_id, currency, amount_minor, amount_nanos, bonus_nanos, booked_to,
    ledger_transaction_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING *

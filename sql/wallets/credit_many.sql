-- Move the balances of wallets by booked amounts and number each change for Redis: credit.sql, of many wallets that
-- lock_many.sql has locked.
-- $1 currency text   $2 account_id bigint[]   $3 amount_nanos bigint[]   $4 ledger_transaction_id bigint[]
WITH moved AS (
    UPDATE wallets AS w
    SET balance_nanos = w.balance_nanos + m.amount_nanos, credit_seq = w.credit_seq + 1
    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS m (account_id, amount_nanos, ledger_transaction_id)
    WHERE w.account_id = m.account_id AND w.currency = $1
    RETURNING w.account_id, w.credit_seq, m.amount_nanos, m.ledger_transaction_id
)
INSERT INTO wallet_credits (account_id, currency, seq, amount_nanos, ledger_transaction_id)
SELECT account_id, $1::text, credit_seq, amount_nanos, ledger_transaction_id FROM moved

-- Move the balance of a wallet by a booked amount and number the change for Redis.
-- $1 account_id bigint   $2 currency text   $3 amount_nanos bigint   $4 ledger_transaction_id bigint
-- $5 take_id uuid, of a change that takes what is set aside under it; else null
-- Returns balance_nanos, credit_seq: one row.
WITH moved AS (
    UPDATE wallets
    SET balance_nanos = balance_nanos + $3, credit_seq = credit_seq + 1
    WHERE account_id = $1 AND currency = $2
    RETURNING balance_nanos, credit_seq
), numbered AS (
    INSERT INTO wallet_credits (account_id, currency, seq, amount_nanos, ledger_transaction_id, take_id)
    SELECT $1, $2, credit_seq, $3, $4, $5 FROM moved
)
SELECT balance_nanos, credit_seq FROM moved

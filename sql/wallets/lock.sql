-- Lock a wallet for the rest of the transaction.
-- $1 account_id bigint   $2 currency text
-- Returns balance_nanos, credit_seq: one row, or none when there is no such wallet.
SELECT balance_nanos, credit_seq FROM wallets WHERE account_id = $1 AND currency = $2 FOR NO KEY UPDATE

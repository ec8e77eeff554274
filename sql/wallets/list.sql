-- The wallets of an account as the ledger has them.
-- $1 account_id bigint
-- Returns currency, balance_nanos, credit_seq, worst_nanos: zero or more rows.
SELECT currency, balance_nanos, credit_seq, worst_nanos FROM wallets WHERE account_id = $1 ORDER BY currency

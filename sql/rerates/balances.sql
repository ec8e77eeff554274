-- What is booked in some wallets.
-- $1 account_id bigint[]   $2 currency text
-- Returns account_id, balance_nanos: a row per wallet that is there.
SELECT account_id, balance_nanos FROM wallets WHERE account_id = ANY($1::bigint[]) AND currency = $2

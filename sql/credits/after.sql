-- The credits of a wallet after a number, in order.
-- $1 account_id bigint   $2 currency text   $3 seq bigint   $4 rows_max integer
-- Returns seq, amount_nanos, take_id: zero or more rows.
SELECT seq, amount_nanos, take_id
FROM wallet_credits
WHERE account_id = $1 AND currency = $2 AND seq > $3
ORDER BY seq
LIMIT $4

-- Lock wallets for the rest of the transaction, in one order so that two bookings cannot block each other.
-- $1 account_id bigint[]   $2 currency text
-- Returns account_id, partition, balance_nanos: a row per wallet that is there.
SELECT w.account_id, a.partition, w.balance_nanos
FROM wallets AS w
JOIN accounts AS a ON a.id = w.account_id
WHERE w.account_id = ANY($1::bigint[]) AND w.currency = $2
ORDER BY w.account_id
FOR NO KEY UPDATE OF w

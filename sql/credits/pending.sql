-- Wallets with booked credits that Redis may not have applied yet, in order, from a wallet on.
-- $1 after account_id bigint   $2 after currency text   $3 rows_max integer
-- Returns account_id, currency, partition: zero or more rows.
SELECT c.account_id, c.currency, a.partition
FROM wallet_credits AS c
JOIN accounts AS a ON a.id = c.account_id
WHERE c.applied_at IS NULL AND (c.account_id, c.currency) > ($1::bigint, $2::text)
GROUP BY c.account_id, c.currency, a.partition
ORDER BY c.account_id, c.currency
LIMIT $3

-- Wallets that are below zero, or were, and since when those are that still are. As booked.
-- $1 account_id bigint or null (any)   $2 after_account_id bigint   $3 after_currency text   $4 rows_max integer
-- Returns account_id, currency, balance_nanos, worst_nanos, below_since: zero or more rows, by account and currency.
SELECT account_id, currency, balance_nanos, worst_nanos, below_since
FROM wallets
WHERE (worst_nanos < 0 OR balance_nanos < 0)
    AND ($1::bigint IS NULL OR account_id = $1)
    AND (account_id, currency) > ($2, $3)
ORDER BY account_id, currency
LIMIT $4

-- Wallets whose balance is not the sum of their ledger entries.
-- $1 rows_max integer
-- Returns account_id, currency, balance_nanos, entries_nanos: zero or more rows.
SELECT coalesce(w.account_id, e.account_id) AS account_id, coalesce(w.currency, e.currency) AS currency,
    coalesce(w.balance_nanos, 0) AS balance_nanos, coalesce(e.nanos, 0) AS entries_nanos
FROM wallets AS w
FULL JOIN (
    SELECT account_id, currency, sum(amount_nanos) AS nanos
    FROM ledger_entries
    WHERE ledger_account = 'wallet'
    GROUP BY account_id, currency
) AS e ON e.account_id = w.account_id AND e.currency = w.currency
WHERE coalesce(w.balance_nanos, 0) <> coalesce(e.nanos, 0)
ORDER BY 1, 2
LIMIT $1

-- Ledger transactions whose lines do not sum to zero, that have no lines, or lines that have no transaction.
-- $1 rows_max integer
-- Returns transaction_id, kind (null: there is none), currency (null: no lines), left_over_nanos: zero or more rows.
SELECT coalesce(t.id, e.transaction_id) AS transaction_id, t.kind, e.currency, e.left_over_nanos
FROM ledger_transactions AS t
FULL JOIN (
    SELECT transaction_id, created_at, currency, sum(amount_nanos) AS left_over_nanos
    FROM ledger_entries
    GROUP BY transaction_id, created_at, currency
) AS e ON e.transaction_id = t.id AND e.created_at = t.created_at
WHERE t.id IS NULL OR e.transaction_id IS NULL OR e.left_over_nanos <> 0
ORDER BY 1
LIMIT $1

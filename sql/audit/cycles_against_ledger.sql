-- Grants and true-ups of cycles that differ from their ledger transactions, and such transactions without a cycle.
-- $1 rows_max integer
-- Returns transaction_id, account_id, currency, cycle_nanos, booked_nanos (what a wallet got): zero or more rows.
SELECT coalesce(c.transaction_id, l.transaction_id) AS transaction_id,
    coalesce(c.account_id, l.account_id) AS account_id, coalesce(c.currency, l.currency) AS currency,
    coalesce(c.nanos, 0) AS cycle_nanos, coalesce(l.nanos, 0) AS booked_nanos
FROM (
    SELECT grant_transaction_id AS transaction_id, 'grant' AS kind, account_id, currency, grant_nanos AS nanos
    FROM plan_cycles
    WHERE grant_transaction_id IS NOT NULL
    UNION ALL
    SELECT true_up_transaction_id, 'commitment', account_id, currency, -true_up_nanos
    FROM plan_cycles
    WHERE true_up_transaction_id IS NOT NULL
) AS c
FULL JOIN (
    SELECT e.transaction_id, t.kind, e.account_id, e.currency, sum(e.amount_nanos) AS nanos
    FROM ledger_entries AS e
    JOIN ledger_transactions AS t ON t.id = e.transaction_id AND t.created_at = e.created_at
    WHERE e.ledger_account = 'wallet' AND t.kind IN ('grant', 'commitment')
    GROUP BY e.transaction_id, t.kind, e.account_id, e.currency
) AS l ON (l.transaction_id, l.kind, l.account_id, l.currency) = (c.transaction_id, c.kind, c.account_id, c.currency)
WHERE coalesce(c.nanos, 0) <> coalesce(l.nanos, 0)
ORDER BY 1
LIMIT $1

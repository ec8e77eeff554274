-- Wallets whose usage rows and whose usage transactions in the ledger do not add up to the same.
-- $1 rows_max integer
-- Returns account_id, currency, charged_nanos (usage), booked_nanos (ledger): zero or more rows.
SELECT coalesce(u.account_id, l.account_id) AS account_id, coalesce(u.currency, l.currency) AS currency,
    coalesce(u.nanos, 0) AS charged_nanos, coalesce(l.nanos, 0) AS booked_nanos
FROM (
    SELECT account_id, currency, sum(charge_nanos) AS nanos FROM usage GROUP BY account_id, currency
) AS u
FULL JOIN (
    SELECT e.account_id, e.currency, -sum(e.amount_nanos) AS nanos
    FROM ledger_entries AS e
    JOIN ledger_transactions AS t ON t.id = e.transaction_id AND t.created_at = e.created_at
    WHERE e.ledger_account = 'wallet' AND t.kind = 'usage'
    GROUP BY e.account_id, e.currency
) AS l ON l.account_id = u.account_id AND l.currency = u.currency
WHERE coalesce(u.nanos, 0) <> coalesce(l.nanos, 0)
ORDER BY 1, 2
LIMIT $1

-- Correction transactions of the ledger that are not the sum of their corrections, what was added to charges and what
-- was taken off each by itself.
-- $1 rows_max integer
-- Returns transaction_id, account_id, currency, added_nanos, taken_nanos (corrections), booked_added_nanos,
-- booked_taken_nanos (ledger): zero or more rows.
SELECT coalesce(c.transaction_id, l.transaction_id) AS transaction_id,
    coalesce(c.account_id, l.account_id) AS account_id, coalesce(c.currency, l.currency) AS currency,
    coalesce(c.added, 0) AS added_nanos, coalesce(c.taken, 0) AS taken_nanos,
    coalesce(l.added, 0) AS booked_added_nanos, coalesce(l.taken, 0) AS booked_taken_nanos
FROM (
    SELECT ledger_transaction_id AS transaction_id, account_id, currency,
        sum(greatest(new_nanos - old_nanos, 0)) AS added, sum(greatest(old_nanos - new_nanos, 0)) AS taken
    FROM corrections
    WHERE ledger_transaction_id IS NOT NULL
    GROUP BY ledger_transaction_id, account_id, currency
) AS c
FULL JOIN (
    SELECT e.transaction_id, e.account_id, e.currency, sum(greatest(-e.amount_nanos, 0)) AS added,
        sum(greatest(e.amount_nanos, 0)) AS taken
    FROM ledger_entries AS e
    JOIN ledger_transactions AS t ON t.id = e.transaction_id AND t.created_at = e.created_at
    WHERE e.ledger_account = 'wallet' AND t.kind = 'correction'
    GROUP BY e.transaction_id, e.account_id, e.currency
) AS l ON l.transaction_id = c.transaction_id AND l.account_id = c.account_id AND l.currency = c.currency
WHERE (coalesce(c.added, 0), coalesce(c.taken, 0)) <> (coalesce(l.added, 0), coalesce(l.taken, 0))
ORDER BY 1
LIMIT $1

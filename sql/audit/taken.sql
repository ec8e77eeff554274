-- The most that was taken out of one wallet beside calls, spent or not: refunds, but for those that were set aside first,
-- disputes, and what cycles were short of a commitment.
-- Returns one row: bigint.
SELECT coalesce(max(nanos), 0)::bigint
FROM (
    SELECT -sum(e.amount_nanos) AS nanos
    FROM ledger_entries AS e
    JOIN ledger_transactions AS t ON t.id = e.transaction_id AND t.created_at = e.created_at
    WHERE e.ledger_account = 'wallet' AND e.amount_nanos < 0 AND t.kind IN ('refund', 'dispute', 'commitment')
        AND NOT (t.kind = 'refund' AND coalesce(t.detail, '{}') @> '{"set_aside": true}')
    GROUP BY e.account_id, e.currency
) AS wallets

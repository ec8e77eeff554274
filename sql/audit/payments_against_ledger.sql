-- Where the ledger differs from what payments, refunds and disputes say: by ledger account, and by wallet.
-- $1 rows_max integer
-- Returns ledger_account, account_id (null but for wallets), currency, expected_nanos, found_nanos: zero or more rows.
WITH moved AS (
    SELECT p.provider, o.account_id, p.booked_to, p.currency, p.amount_nanos, p.bonus_nanos, p.fee_currency,
        coalesce(p.fee_nanos, 0) AS fee_nanos, p.id
    FROM payments AS p
    JOIN payment_orders AS o ON o.order_id = p.order_id
), back AS (
    SELECT m.provider, m.account_id, r.taken_from, m.currency, r.amount_nanos, r.bonus_nanos, r.state
    FROM refunds AS r
    JOIN moved AS m ON m.id = r.payment_id
    WHERE r.state IN ('taken', 'pending', 'succeeded')
), disputed AS (
    SELECT m.provider, m.account_id, m.booked_to, m.currency, d.frozen_nanos, d.frozen_bonus_nanos, d.withdrawn_nanos,
        d.fee_nanos
    FROM disputes AS d
    JOIN moved AS m ON m.id = d.payment_id
), expected AS (
    SELECT booked_to AS ledger_account, CASE booked_to WHEN 'wallet' THEN account_id END AS account_id, currency,
        amount_nanos + bonus_nanos AS nanos
    FROM moved
    UNION ALL
    SELECT 'cash:' || provider, NULL, currency, -amount_nanos FROM moved
    UNION ALL
    SELECT 'cash:' || provider, NULL, fee_currency, fee_nanos FROM moved WHERE fee_nanos <> 0
    UNION ALL
    SELECT 'fees:' || provider, NULL, fee_currency, -fee_nanos FROM moved WHERE fee_nanos <> 0
    UNION ALL
    SELECT 'bonus', NULL, currency, -bonus_nanos FROM moved
    UNION ALL
    SELECT taken_from, CASE taken_from WHEN 'wallet' THEN account_id END, currency, -amount_nanos - bonus_nanos FROM back
    UNION ALL
    SELECT 'bonus', NULL, currency, bonus_nanos FROM back
    UNION ALL
    SELECT CASE state WHEN 'succeeded' THEN 'cash:' || provider ELSE 'refunds:pending' END, NULL, currency, amount_nanos
    FROM back
    UNION ALL
    SELECT booked_to, CASE booked_to WHEN 'wallet' THEN account_id END, currency, -frozen_nanos - frozen_bonus_nanos
    FROM disputed
    UNION ALL
    SELECT 'bonus', NULL, currency, frozen_bonus_nanos FROM disputed
    UNION ALL
    SELECT 'disputes', NULL, currency, frozen_nanos - withdrawn_nanos FROM disputed
    UNION ALL
    SELECT 'cash:' || provider, NULL, currency, withdrawn_nanos + fee_nanos FROM disputed
    UNION ALL
    SELECT 'fees:' || provider, NULL, currency, -fee_nanos FROM disputed
), found AS (
    SELECT e.ledger_account, e.account_id, e.currency, e.amount_nanos AS nanos
    FROM ledger_entries AS e
    JOIN ledger_transactions AS t ON t.id = e.transaction_id AND t.created_at = e.created_at
    WHERE t.kind IN ('payment', 'payment_accepted', 'payment_fee', 'refund', 'refund_paid', 'refund_returned', 'dispute')
)
SELECT ledger_account, account_id, currency, sum(expected) AS expected_nanos, sum(found) AS found_nanos
FROM (
    SELECT ledger_account, account_id, currency, nanos AS expected, 0 AS found FROM expected
    UNION ALL
    SELECT ledger_account, account_id, currency, 0, nanos FROM found
) AS both_sides
GROUP BY ledger_account, account_id, currency
HAVING sum(expected) <> sum(found)
ORDER BY ledger_account, account_id, currency
LIMIT $1

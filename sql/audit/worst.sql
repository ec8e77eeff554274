-- The wallet that went furthest below zero.
-- Returns account_id, currency, worst_nanos: one row, or none where there is no wallet.
SELECT account_id, currency, worst_nanos FROM wallets ORDER BY worst_nanos LIMIT 1

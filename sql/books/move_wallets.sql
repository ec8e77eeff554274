-- Add signed amounts to wallets, in one order so that two bookings cannot block each other; worst never rises.
-- A wallet that is missing is made: what was charged must stand somewhere.
-- $1 account_id bigint[]   $2 currency text[]   $3 amount_nanos bigint[]   $4 worst_nanos bigint[] (<= 0)
INSERT INTO wallets (account_id, currency, balance_nanos, worst_nanos)
SELECT m.account_id, m.currency, m.amount_nanos, m.worst_nanos
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS m (account_id, currency, amount_nanos, worst_nanos)
ORDER BY m.account_id, m.currency
ON CONFLICT (account_id, currency) DO UPDATE SET
    balance_nanos = wallets.balance_nanos + EXCLUDED.balance_nanos,
    worst_nanos = least(wallets.worst_nanos, EXCLUDED.worst_nanos)

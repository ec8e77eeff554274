-- What of an order has gone back, or is on its way.
-- $1 order_id text
-- Returns one row: bigint.
SELECT coalesce(sum(amount_minor), 0)::bigint FROM refunds
WHERE order_id = $1 AND state IN ('taken', 'pending', 'succeeded')

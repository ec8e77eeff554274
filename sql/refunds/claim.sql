-- Take one refund that is to be driven on, for as long as the lease lasts.
-- $1 lease interval
-- Returns the columns of refunds, and currency: one row or none.
UPDATE refunds SET attempts = attempts + 1, next_try_at = now() + $1::interval
WHERE id = (
    SELECT id FROM refunds
    WHERE state IN ('requested', 'taken') AND next_try_at <= now()
    ORDER BY next_try_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING *, (SELECT p.currency FROM payments AS p WHERE p.id = refunds.payment_id) AS currency

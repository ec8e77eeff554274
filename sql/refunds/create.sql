-- Begin a refund.
-- $1 id uuid   $2 order_id text   $3 payment_id bigint   $4 provider text   $5 provider_refund_id text or null
-- $6 idempotency_key text or null   $7 amount_minor bigint   $8 amount_nanos bigint   $9 bonus_nanos bigint
-- $10 taken_from text   $11 reason text or null   $12 state text   $13 ours boolean
-- $14 lease interval: whoever made it drives it, and nobody else for that long
-- Returns the columns of refunds, and currency: one row.
INSERT INTO refunds (id, order_id, payment_id, provider, provider_refund_id, idempotency_key, amount_minor,
    amount_nanos, bonus_nanos, taken_from, reason, state, ours, attempts, next_try_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, now() + $14::interval)
RETURNING *, (SELECT p.currency FROM payments AS p WHERE p.id = refunds.payment_id) AS currency

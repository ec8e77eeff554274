-- Keep a dispute as it stands now, with what the same transaction has moved for it.
-- $1 provider text   $2 dispute_id text   $3 order_id text   $4 payment_id bigint   $5 currency text
-- $6 amount_nanos bigint   $7 status text   $8 reason text or null   $9 frozen_nanos bigint   $10 frozen_bonus_nanos bigint
-- $11 withdrawn_nanos bigint   $12 fee_nanos bigint
INSERT INTO disputes (provider, dispute_id, order_id, payment_id, currency, amount_nanos, status, reason, frozen_nanos,
    frozen_bonus_nanos, withdrawn_nanos, fee_nanos)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (provider, dispute_id) DO UPDATE
SET status = excluded.status, reason = excluded.reason, frozen_nanos = excluded.frozen_nanos,
    frozen_bonus_nanos = excluded.frozen_bonus_nanos, withdrawn_nanos = excluded.withdrawn_nanos,
    fee_nanos = excluded.fee_nanos, changed_at = now()

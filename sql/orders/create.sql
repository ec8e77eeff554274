-- Begin an order, unless there is one of this id.
-- $1 order_id text   $2 account_id bigint   $3 user_id bigint or null   $4 provider text   $5 mode text   $6 currency text
-- $7 amount_minor bigint   $8 credit_nanos bigint   $9 bonus_nanos bigint   $10 package_credits bigint or null
-- $11 request_sha256 bytea   $12 terms text (JSON)
-- Returns the columns of payment_orders: one row, or none when the id is taken.
INSERT INTO payment_orders (order_id, account_id, user_id, provider, mode, currency, amount_minor, credit_nanos,
    bonus_nanos, package_credits, request_sha256, terms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb)
ON CONFLICT (order_id) DO NOTHING
RETURNING *

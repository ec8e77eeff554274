-- Keep who an account is at a provider; the latest counts.
-- $1 account_id bigint   $2 provider text   $3 livemode boolean   $4 customer_id text
INSERT INTO provider_customers (account_id, provider, livemode, customer_id)
VALUES ($1, $2, $3, $4)
ON CONFLICT (account_id, provider, livemode) DO UPDATE SET customer_id = excluded.customer_id
WHERE provider_customers.customer_id <> excluded.customer_id

-- Who an account is at a provider.
-- $1 account_id bigint   $2 provider text   $3 livemode boolean
-- Returns customer_id: one row or none.
SELECT customer_id FROM provider_customers WHERE account_id = $1 AND provider = $2 AND livemode = $3

-- When the first of a provider's orders was made, of those that are not too old to ask for.
-- $1 provider text   $2 age interval
-- Returns one row: timestamptz, null when there is none.
SELECT min(created_at) FROM payment_orders WHERE provider = $1 AND created_at > now() - $2::interval

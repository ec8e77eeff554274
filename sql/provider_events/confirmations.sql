-- What was told of a payment, oldest first.
-- $1 provider text   $2 provider_txn_id text
-- Returns body: zero or more rows.
SELECT body FROM provider_events WHERE provider = $1 AND provider_txn_id = $2 ORDER BY id

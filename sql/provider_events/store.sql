-- Store what a provider told us, once; told again, it is counted.
-- $1 provider text   $2 event_id text   $3 type text   $4 body bytea   $5 livemode boolean   $6 wanted boolean
-- $7 provider_txn_id text or null   $8 order_id text or null   $9 made_at timestamptz or null   $10 source text
-- $11 state text   $12 outcome text or null
-- Returns id, fresh, same: one row; fresh is false when it was there, same when it is there with these bytes.
INSERT INTO provider_events (provider, event_id, type, body, livemode, wanted, provider_txn_id, order_id, made_at,
    source, state, outcome, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, CASE WHEN $11 = 'stored' THEN NULL ELSE now() END)
ON CONFLICT (provider, event_id) DO UPDATE
SET deliveries = provider_events.deliveries + (excluded.source = 'webhook')::integer
RETURNING id, xmax = 0 AS fresh, body = $4 AS same

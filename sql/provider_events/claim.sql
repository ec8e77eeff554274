-- Take one event that waits, for as long as the lease lasts; the one that has waited longest.
-- $1 lease interval
-- Returns id, provider, event_id, type, provider_txn_id, order_id, attempts: one row or none.
UPDATE provider_events SET attempts = attempts + 1, next_try_at = now() + $1::interval
WHERE id = (
    SELECT id FROM provider_events
    WHERE state = 'stored' AND next_try_at <= now()
    ORDER BY next_try_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING id, provider, event_id, type, provider_txn_id, order_id, attempts

-- What the books wait for: events that could not be read, and what Redis has not been told.
-- Returns one row: dead bigint, uncharged bigint (of these), credits bigint (older than a minute), keys bigint.
SELECT
    (SELECT count(*) FROM dead_events) AS dead,
    (SELECT count(*) FROM dead_events WHERE NOT charged) AS uncharged,
    (
        SELECT count(*) FROM wallet_credits WHERE applied_at IS NULL AND created_at < now() - interval '1 minute'
    ) AS credits,
    (SELECT count(*) FROM api_keys WHERE redis_generation < generation) AS keys

-- Up to when a provider was asked for events.
-- $1 provider text
-- Returns asked_until, ran_at: one row or none.
SELECT asked_until, ran_at FROM backfills WHERE provider = $1

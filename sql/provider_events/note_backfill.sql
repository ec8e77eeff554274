-- Note a back-fill.
-- $1 provider text   $2 asked_until timestamptz
INSERT INTO backfills (provider, asked_until, ran_at) VALUES ($1, $2, now())
ON CONFLICT (provider) DO UPDATE SET asked_until = excluded.asked_until, ran_at = excluded.ran_at

-- Keep what is about to be answered, in the transaction that does it.
-- $1 scope text   $2 key text   $3 request_sha256 bytea   $4 result text (JSON)
-- Returns one row, or none when the key was taken meanwhile: then the transaction must be given up.
INSERT INTO idempotency_keys (scope, key, request_sha256, result)
VALUES ($1, $2, $3, $4::text::jsonb)
ON CONFLICT DO NOTHING
RETURNING true AS kept

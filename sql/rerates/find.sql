-- The run that was begun under a key.
-- $1 idempotency_key text
-- Returns id, request_sha256, wrong_version, right_version, last_id, left_out, refused, finished_at: one row or none.
SELECT id, request_sha256, wrong_version, right_version, last_id, left_out, refused, finished_at
FROM rerates
WHERE idempotency_key = $1

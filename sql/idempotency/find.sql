-- What was answered to a request with this key before.
-- $1 scope text   $2 key text
-- Returns request_sha256, result: one row or none.
SELECT request_sha256, result FROM idempotency_keys WHERE scope = $1 AND key = $2

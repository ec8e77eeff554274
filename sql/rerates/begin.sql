-- Begin a run.
-- $1 idempotency_key text   $2 request_sha256 bytea   $3 wrong_version bigint   $4 right_version bigint
-- $5 last_id uuid (the calls after it are to be done)   $6 left_out bigint[] (accounts)
INSERT INTO rerates (idempotency_key, request_sha256, wrong_version, right_version, last_id, left_out)
VALUES ($1, $2, $3, $4, $5, $6)

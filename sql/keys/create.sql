-- Make a key with its first secret and its spend windows.
-- $1 account_id bigint   $2 name text   $3 models text[] or null   $4 expires_at timestamptz or null
-- $5 secret_sha256 bytea   $6 prefix text   $7 window kinds text[]   $8 window limits_nanos bigint[]
-- Returns id: one row, or none when there is no such account.
WITH made AS (
    INSERT INTO api_keys (account_id, name, models, expires_at)
    SELECT id, $2, $3, $4 FROM accounts WHERE id = $1
    RETURNING id, account_id, generation
), secret AS (
    INSERT INTO key_secrets (secret_sha256, key_id, prefix, generation)
    SELECT $5, id, $6, generation FROM made
), caps AS (
    INSERT INTO windows (account_id, key_id, kind, limit_nanos)
    SELECT made.account_id, made.id, given.kind, given.limit_nanos
    FROM made, unnest($7::text[], $8::bigint[]) AS given (kind, limit_nanos)
)
SELECT id FROM made

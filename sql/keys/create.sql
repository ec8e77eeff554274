-- Make a key with its first secret and its spend windows. The row of its user is locked against being disabled now:
-- whoever disables a user raises the generation of all the keys that the user has.
-- $1 account_id bigint   $2 name text   $3 models text[] or null   $4 expires_at timestamptz or null
-- $5 secret_sha256 bytea   $6 prefix text   $7 window kinds text[]   $8 window limits_nanos bigint[]
-- $9 user_id bigint or null   $10 models_denied text[] or null   $11 scopes text[] or null
-- $12 ip_allowlist text[] or null   $13 metadata jsonb   $14 tags text[]
-- Returns id: one row, or none when there is no such account, or in it no such user that is not disabled.
WITH owner AS (
    SELECT id FROM users WHERE id = $9 AND account_id = $1 AND disabled_at IS NULL FOR SHARE
), made AS (
    INSERT INTO api_keys (account_id, name, models, expires_at, user_id, models_denied, scopes, ip_allowlist, metadata, tags)
    SELECT accounts.id, $2, $3, $4, owner.id, $10, $11, $12, $13, $14
    FROM accounts LEFT JOIN owner ON true
    WHERE accounts.id = $1 AND ($9 IS NULL OR owner.id IS NOT NULL)
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

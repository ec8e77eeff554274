-- Change what is said of a key that is not revoked, and raise its generation.
-- $1 key_id bigint   $2 names of the fields to change text[] (the value of any other means nothing)
-- $3 generation that it must have bigint or null (any)   $4 name text   $5 models text[] or null
-- $6 models_denied text[] or null   $7 scopes text[] or null   $8 ip_allowlist text[] or null   $9 metadata jsonb
-- $10 tags text[]   $11 expires_at timestamptz or null
-- Returns the scopes that it had: one row, or none when it is not there, revoked, or of another generation.
WITH before AS (
    SELECT id, scopes FROM api_keys
    WHERE id = $1 AND revoked_at IS NULL AND ($3::bigint IS NULL OR generation = $3)
    FOR UPDATE
)
UPDATE api_keys AS k
SET
    generation = k.generation + 1,
    name = CASE WHEN 'name' = ANY ($2::text[]) THEN $4 ELSE k.name END,
    models = CASE WHEN 'models' = ANY ($2) THEN $5 ELSE k.models END,
    models_denied = CASE WHEN 'models_denied' = ANY ($2) THEN $6 ELSE k.models_denied END,
    scopes = CASE WHEN 'scopes' = ANY ($2) THEN $7 ELSE k.scopes END,
    ip_allowlist = CASE WHEN 'ip_allowlist' = ANY ($2) THEN $8 ELSE k.ip_allowlist END,
    metadata = CASE WHEN 'metadata' = ANY ($2) THEN $9 ELSE k.metadata END,
    tags = CASE WHEN 'tags' = ANY ($2) THEN $10 ELSE k.tags END,
    expires_at = CASE WHEN 'expires_at' = ANY ($2) THEN $11 ELSE k.expires_at END
FROM before
WHERE k.id = before.id
RETURNING before.scopes

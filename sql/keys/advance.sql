-- Raise the generation of a key that is not revoked, and lock its row; revoke it if asked to.
-- $1 key_id bigint   $2 revoke boolean
-- Returns generation, scopes: one row, or none when the key is revoked or not there.
UPDATE api_keys
SET generation = generation + 1, revoked_at = CASE WHEN $2 THEN now() END
WHERE id = $1 AND revoked_at IS NULL
RETURNING generation, scopes

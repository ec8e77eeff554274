-- Revoke the present secret of a key; the next one is added in the same transaction.
-- $1 key_id bigint   $2 generation bigint
UPDATE key_secrets SET revoked_at = now(), generation = $2 WHERE key_id = $1 AND revoked_at IS NULL

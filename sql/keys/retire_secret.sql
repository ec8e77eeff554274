-- End the secrets of a key: the present one after a grace period, one that still had one now. The next is added in the
-- same transaction.
-- $1 key_id bigint   $2 generation bigint   $3 grace_s bigint
-- Returns revoked_at, when each ends: one row or two.
UPDATE key_secrets
SET
    revoked_at = CASE WHEN revoked_at IS NULL THEN now() + $3::bigint * interval '1 second' ELSE now() END,
    generation = $2
WHERE key_id = $1 AND (revoked_at IS NULL OR revoked_at > now())
RETURNING revoked_at

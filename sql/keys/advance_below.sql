-- Raise the generation of every key below an entity, since what stands above it has changed. In the order of their
-- ids, so that two of these cannot wait for each other.
-- $1 account_id bigint   $2 team_id bigint   $3 user_id bigint   $4 key_id bigint (null but for the entity's)
UPDATE api_keys
SET generation = generation + 1
WHERE id IN (
    SELECT k.id
    FROM api_keys AS k
    WHERE k.account_id = $1 AND k.revoked_at IS NULL AND CASE
        WHEN $4::bigint IS NOT NULL THEN k.id = $4
        WHEN $3::bigint IS NOT NULL THEN k.user_id = $3
        WHEN $2::bigint IS NOT NULL THEN k.user_id IN (SELECT id FROM users WHERE team_id = $2)
        ELSE true
    END
    ORDER BY k.id
    FOR UPDATE
)
